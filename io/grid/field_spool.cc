#include "io/grid/field_spool.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::int64_t kMaxTransfer = std::int64_t{1} << 30;

}  // namespace

FieldSpool::FieldSpool(const std::string& path, std::int64_t values)
    : path_(path + ".spool.XXXXXX"), bytes_(values * static_cast<std::int64_t>(sizeof(float))) {
  descriptor_ = ::mkostemp(path_.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail("created");
  ::unlink(path_.c_str());
}

FieldSpool::~FieldSpool() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FieldSpool::add(const float* values) {
  const auto* data = reinterpret_cast<const std::byte*>(values);
  for (std::int64_t done = 0; done < bytes_;) {
    const auto count = static_cast<std::size_t>(std::min(bytes_ - done, kMaxTransfer));
    const ssize_t written = ::pwrite(descriptor_, data + done, count, size_ * bytes_ + done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("written");
    done += written;
  }
  ++size_;
}

void FieldSpool::read(std::int64_t number, float* values) const {
  auto* data = reinterpret_cast<std::byte*>(values);
  for (std::int64_t done = 0; done < bytes_;) {
    const auto count = static_cast<std::size_t>(std::min(bytes_ - done, kMaxTransfer));
    const ssize_t found = ::pread(descriptor_, data + done, count, number * bytes_ + done);
    if (found < 0 && errno == EINTR) continue;
    if (found <= 0) fail("read");
    done += found;
  }
}

void FieldSpool::fail(const char* step) const {
  throw RuntimeError(fmt::format("{}: cannot be {}: {}", path_, step, std::strerror(errno)));
}

}  // namespace trib::io
