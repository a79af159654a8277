#include "io/opening_file.h"

#include <chrono>
#include <map>
#include <mutex>

#include <fmt/format.h>
#include <sys/stat.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

using Clock = std::chrono::steady_clock;

struct Entry {
  std::string path;
  Clock::time_point since;
};

struct Openings {
  std::mutex mutex;
  std::map<const OpeningFile*, Entry> entries;
};

// Never destroyed: a thread that is still in a library may end after everything else.
Openings& openings() {
  static auto* const all = new Openings;
  return *all;
}

void check_nature(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return;  // what opens it says more
  const char* nature = S_ISFIFO(status.st_mode)   ? "a pipe"
                       : S_ISSOCK(status.st_mode) ? "a socket"
                       : S_ISCHR(status.st_mode)  ? "a device"
                                                  : nullptr;
  if (nature != nullptr) throw DataError(fmt::format("{}: is {}, expected a file", path, nature));
}

}  // namespace

OpeningFile::OpeningFile(std::string path) {
  {
    const std::lock_guard lock(openings().mutex);
    openings().entries[this] = {path, Clock::now()};
  }
  try {
    check_nature(path);
  } catch (...) {
    const std::lock_guard lock(openings().mutex);
    openings().entries.erase(this);
    throw;
  }
}

OpeningFile::~OpeningFile() {
  const std::lock_guard lock(openings().mutex);
  openings().entries.erase(this);
}

std::optional<Opening> slowest_opening() {
  const Clock::time_point now = Clock::now();
  std::optional<Opening> slowest;
  const std::lock_guard lock(openings().mutex);
  for (const auto& [opening, entry] : openings().entries) {
    const double seconds = std::chrono::duration<double>(now - entry.since).count();
    if (!slowest || seconds > slowest->seconds) slowest = Opening{entry.path, seconds};
  }
  return slowest;
}

}  // namespace trib::io
