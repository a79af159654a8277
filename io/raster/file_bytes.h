// A file's bytes by their place, from any thread and without a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace trib::io {

/// Fill `out` from `place` on. False if the file ends before or cannot be read.
bool read_at(int descriptor, std::uint64_t place, std::span<std::byte> out);

/// A file open for reading.
class OpenFile {
 public:
  /// is_open() tells whether it went well.
  explicit OpenFile(const std::string& path);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace trib::io
