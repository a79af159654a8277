// The bytes of a file by their place, from any thread and without a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace trib::io {

/// Fill `out` from `offset` on of an open file. False if it cannot be read (errno says why) or ends
/// before (errno is 0).
bool read_at(int descriptor, std::uint64_t offset, std::span<std::byte> out);

/// A file open for reading. Thread-safe.
class StoredFile {
 public:
  /// Throws DataError if it cannot be opened.
  explicit StoredFile(const std::string& path);
  ~StoredFile();
  StoredFile(const StoredFile&) = delete;
  StoredFile& operator=(const StoredFile&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  /// Whether so many bytes lie there.
  bool holds(std::uint64_t offset, std::uint64_t bytes) const {
    return offset <= size_ && bytes <= size_ - offset;
  }
  /// Fill `out` from `offset` on. Throws DataError naming the file if it ends before.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  std::string path_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

}  // namespace trib::io
