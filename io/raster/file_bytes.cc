#include "io/raster/file_bytes.h"

#include <cerrno>
#include <limits>

#include <fcntl.h>
#include <unistd.h>

namespace trib::io {

bool read_at(int descriptor, std::uint64_t place, std::span<std::byte> out) {
  constexpr std::uint64_t kEnd = std::numeric_limits<std::int64_t>::max();
  if (place > kEnd || out.size() > kEnd - place) return false;
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor, out.data(), out.size(), static_cast<off_t>(place));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(got));
    place += static_cast<std::uint64_t>(got);
  }
  return true;
}

OpenFile::OpenFile(const std::string& path)
    : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace trib::io
