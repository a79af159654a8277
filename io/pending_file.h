// Files that appear whole or not at all, and outlast a crash.
#pragma once

#include <cstddef>
#include <string>

namespace trib::io {

/// A file written under another name: commit() flushes it to disk and gives it its own, replacing
/// what has it. Without commit() it is removed. All functions throw RuntimeError naming the file
/// and the system's reason.
class PendingFile {
 public:
  explicit PendingFile(const std::string& path);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  /// Have room for a file of `bytes` before it is written, so that one that does not fit takes none
  /// from others. File systems that know of no such thing are not asked for more.
  void reserve(std::size_t bytes);
  void write(const void* data, std::size_t count);
  /// Replace bytes that are written already.
  void overwrite(std::size_t offset, const void* data, std::size_t count);
  void commit();

 private:
  [[noreturn]] void fail(const char* step) const;

  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
};

/// The name under which a file is made before it has its own.
std::string temporary_name(const std::string& path);

/// Flush to disk what a library wrote under temporary_name(path) and give it its own name,
/// replacing what has it. Throws RuntimeError.
void commit_file(const std::string& temporary, const std::string& path);

/// Write a whole file. Throws RuntimeError.
void write_file(const std::string& path, const std::string& text);

/// Make the names in a folder outlast a crash. Throws RuntimeError.
void sync_folder(const std::string& folder);

}  // namespace trib::io
