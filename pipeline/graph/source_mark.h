// Where a value was written.
#pragma once

#include <string>

namespace trib::pipeline {

/// A place in a file, line and column counted from 1 (columns in characters, not bytes). Line 0
/// means that `file` is the whole place: a file as such, or an option such as `--set tokens.dim=8`.
struct SourceMark {
  std::string file;
  int line = 0;
  int column = 0;

  /// "file:line:column", or the file alone.
  std::string text() const {
    if (line == 0) return file;
    return file + ":" + std::to_string(line) + ":" + std::to_string(column);
  }
  bool operator==(const SourceMark&) const = default;
};

}  // namespace trib::pipeline
