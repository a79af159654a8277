#include "io/pending_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;

void sync_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  sync_folder(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

}  // namespace

std::string temporary_name(const std::string& path) {
  return fmt::format("{}.{}.part", path, ::getpid());
}

PendingFile::PendingFile(const std::string& path) : path_(path), temporary_(temporary_name(path)) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("created");
}

PendingFile::~PendingFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!committed_) ::unlink(temporary_.c_str());
}

// Not posix_fallocate: where it must do without the system's help it writes to each block.
void PendingFile::reserve(std::size_t bytes) {
  if (bytes == 0) return;
  int result = 0;
  do {
    result = ::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  const bool is_unknown = errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL;
  if (result != 0 && !is_unknown) fail("written");
}

void PendingFile::write(const void* data, std::size_t count) {
  const auto* bytes = static_cast<const std::byte*>(data);
  while (count > 0) {
    const ssize_t written = ::write(descriptor_, bytes, std::min(count, kMaxTransfer));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("written");
    bytes += written;
    count -= static_cast<std::size_t>(written);
  }
}

void PendingFile::overwrite(std::size_t offset, const void* data, std::size_t count) {
  const auto* bytes = static_cast<const std::byte*>(data);
  while (count > 0) {
    const ssize_t written =
        ::pwrite(descriptor_, bytes, std::min(count, kMaxTransfer), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("written");
    bytes += written;
    offset += static_cast<std::size_t>(written);
    count -= static_cast<std::size_t>(written);
  }
}

void PendingFile::commit() {
  if (::fsync(descriptor_) != 0) fail("flushed to disk");
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("closed");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("renamed");
  committed_ = true;
  sync_folder_of(path_);
}

void PendingFile::fail(const char* step) const {
  throw RuntimeError(fmt::format("{}: cannot be {}: {}", path_, step, std::strerror(errno)));
}

void commit_file(const std::string& temporary, const std::string& path) {
  const int descriptor = ::open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!flushed) {
    throw RuntimeError(
        fmt::format("{}: cannot be flushed to disk: {}", path, std::strerror(reason)));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    throw RuntimeError(fmt::format("{}: cannot be renamed: {}", path, std::strerror(errno)));
  }
  sync_folder_of(path);
}

void write_file(const std::string& path, const std::string& text) {
  PendingFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

void sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!synced && reason != EINVAL) {  // not every file system can
    throw RuntimeError(
        fmt::format("{}: cannot be flushed to disk: {}", folder, std::strerror(reason)));
  }
}

}  // namespace trib::io
