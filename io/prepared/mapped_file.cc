#include "io/prepared/mapped_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/base/error.h"

namespace trib::io {

MappedFile::MappedFile(const std::string& path, std::int64_t expected_bytes)
    : size_(expected_bytes) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw DataError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  }
  struct stat status {};
  const bool is_known = ::fstat(descriptor, &status) == 0;
  void* mapped = MAP_FAILED;
  if (is_known && status.st_size == size_ && size_ > 0) {
    mapped = ::mmap(nullptr, static_cast<std::size_t>(size_), PROT_READ, MAP_SHARED, descriptor, 0);
  }
  const int reason = errno;
  ::close(descriptor);
  if (is_known && status.st_size != size_) {
    throw DataError(fmt::format("{}: has {} bytes, expected {}", path, status.st_size, size_));
  }
  if (mapped == MAP_FAILED) {
    throw DataError(fmt::format("{}: cannot be mapped: {}", path, std::strerror(reason)));
  }
  data_ = static_cast<std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  ::munmap(data_, static_cast<std::size_t>(size_));
}

void MappedFile::will_need(std::int64_t offset, std::int64_t bytes) const {
  const auto page = static_cast<std::int64_t>(::sysconf(_SC_PAGESIZE));
  const std::int64_t begin = offset / page * page;
  ::madvise(data_ + begin, static_cast<std::size_t>(offset + bytes - begin), MADV_WILLNEED);
}

}  // namespace trib::io
