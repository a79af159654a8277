#include "io/chunks/stored_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/base/error.h"

namespace trib::io {

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
  const std::uint64_t first = offset;
  const std::size_t wanted = out.size();
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw DataError(fmt::format("{}: cannot read {} bytes at {}: {}", path_, wanted, first,
                                  got < 0 ? std::strerror(errno) : "the file ends before"));
    }
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace trib::io
