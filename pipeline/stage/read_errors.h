// What becomes of items that cannot be read.
#pragma once

#include <cstdint>
#include <string>

namespace trib::pipeline {

/// How a source takes items that cannot be read.
struct ReadErrors {
  bool skip = false;           ///< leave them out and list them; else the first one ends the run
  double max_skipped = 0.01;   ///< below 1 a fraction of the items, rounded up; else a number
  double timeout_seconds = 0;  ///< a read that takes longer is given up as damaged; 0: none is

  /// Items of `items` that may be skipped.
  std::int64_t most_skipped(std::int64_t items) const;
};

/// A file that was left out because it cannot be opened.
struct UnreadableFile {
  std::string file, error;
};

}  // namespace trib::pipeline
