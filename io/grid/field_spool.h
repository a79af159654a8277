// Fields put aside on disk until it is known in which order they are wanted.
#pragma once

#include <cstdint>
#include <string>

namespace trib::io {

/// Fields of one size in a file without a name, which is gone with the program. All functions throw
/// RuntimeError naming the folder and the system's reason.
class FieldSpool {
 public:
  /// Open in the folder of `path`; fields have `values` values.
  FieldSpool(const std::string& path, std::int64_t values);
  ~FieldSpool();
  FieldSpool(const FieldSpool&) = delete;
  FieldSpool& operator=(const FieldSpool&) = delete;

  std::int64_t size() const { return size_; }
  /// Add a field; its number is the size before.
  void add(const float* values);
  void read(std::int64_t number, float* values) const;

 private:
  [[noreturn]] void fail(const char* step) const;

  std::string path_;
  std::int64_t bytes_;
  std::int64_t size_ = 0;
  int descriptor_ = -1;
};

}  // namespace trib::io
