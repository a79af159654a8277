#include "io/chunks/stored_file.h"

#include <cerrno>
#include <cstring>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/base/error.h"

namespace trib::io {

bool read_at(int descriptor, std::uint64_t offset, std::span<std::byte> out) {
  constexpr std::uint64_t kEnd = std::numeric_limits<off_t>::max();
  errno = 0;
  if (offset > kEnd || out.size() > kEnd - offset) return false;
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got == 0) errno = 0;
      return false;
    }
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

StoredFile::StoredFile(const std::string& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
    const int error = errno;
    if (descriptor_ >= 0) ::close(descriptor_);
    throw DataError(fmt::format("{}: cannot open: {}", path, std::strerror(error)));
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

StoredFile::~StoredFile() {
  ::close(descriptor_);
}

void StoredFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (read_at(descriptor_, offset, out)) return;
  throw DataError(fmt::format("{}: cannot read {} bytes at {}: {}", path_, out.size(), offset,
                              errno != 0 ? std::strerror(errno) : "the file ends before"));
}

}  // namespace trib::io
