// A file in memory, read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace trib::io {

/// The file stays readable when it is removed or replaced. Reading it after another process has cut
/// it short kills this process (SIGBUS): whoever maps a file checks its length first, and files are
/// replaced by renaming, never written in place.
class MappedFile {
 public:
  /// Throws DataError if the file cannot be opened or has not `expected_bytes`.
  MappedFile(const std::string& path, std::int64_t expected_bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  std::int64_t size() const { return size_; }
  /// Have the system read these bytes from the disk, if they are not in memory.
  void will_need(std::int64_t offset, std::int64_t bytes) const;

 private:
  std::byte* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace trib::io
