#include "io/opening_file.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

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

// Comes back as soon as the file can be read; what is wrong with it others say better.
void touch(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  char first = 0;
  static_cast<void>(!::pread(descriptor, &first, 1, 0));
  ::close(descriptor);
}

void check_nature(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return;  // what opens it says more
  const char* nature = S_ISFIFO(status.st_mode)   ? "a pipe"
                       : S_ISSOCK(status.st_mode) ? "a socket"
                       : S_ISCHR(status.st_mode)  ? "a device"
                                                  : nullptr;
  if (nature != nullptr) throw DataError(fmt::format("{}: is {}, expected a file", path, nature));
  if (S_ISREG(status.st_mode)) touch(path);
}

}  // namespace

OpeningFile::OpeningFile(std::string name, const std::string& file) {
  {
    const std::lock_guard lock(openings().mutex);
    openings().entries[this] = {std::move(name), Clock::now()};
  }
  try {
    check_nature(file);
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

std::vector<Opening> slow_openings(double seconds) {
  const Clock::time_point now = Clock::now();
  std::vector<Opening> slow;
  {
    const std::lock_guard lock(openings().mutex);
    for (const auto& [opening, entry] : openings().entries) {
      const double taken = std::chrono::duration<double>(now - entry.since).count();
      if (taken >= seconds) slow.push_back({entry.path, taken});
    }
  }
  std::sort(slow.begin(), slow.end(),
            [](const Opening& a, const Opening& b) { return a.seconds > b.seconds; });
  return slow;
}

}  // namespace trib::io
