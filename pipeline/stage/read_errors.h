// What becomes of items that cannot be read.
#pragma once

#include <cstdint>

namespace trib::pipeline {

/// How a source takes items that cannot be read.
struct ReadErrors {
  bool skip = false;          ///< leave them out and list them; else the first one ends the run
  double max_skipped = 0.01;  ///< below 1 a fraction of the items, rounded up; else a number

  /// Items of `items` that may be skipped.
  std::int64_t most_skipped(std::int64_t items) const;
};

}  // namespace trib::pipeline
