// Small valid files of every kind the product reads, and how it reads them.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace trib::test {

/// A kind of file. Both functions run in child processes.
struct SmallFile {
  std::string kind;
  /// Write it, with what belongs to it, to a folder. Returns its name there, empty if it cannot be
  /// had here.
  std::function<std::string(const std::string& folder)> write;
  /// All values read from it.
  std::function<std::vector<float>(const std::string& path)> read;
  /// Whether no damage may go unnoticed: a checksum covers the file.
  bool is_checksummed = false;
  /// Whether a file that is cut off can be told from a whole one.
  bool has_end = true;
};

const std::vector<SmallFile>& small_files();

}  // namespace trib::test
