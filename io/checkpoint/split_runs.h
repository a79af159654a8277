// Parts of tensors as runs of elements, to move elements from one way of cutting to another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/base/shape.h"
#include "ops/base/split.h"

namespace trib::io {

/// Elements that lie together both in a part of a tensor and in the whole tensor.
struct SplitRun {
  std::int64_t local = 0;   ///< first of them in the part
  std::int64_t global = 0;  ///< first of them in the whole tensor
  std::int64_t count = 0;
};

/// What is wrong with a split of a tensor of that shape; "" if nothing.
std::string split_error(const Shape& shape, const TensorSplit& split);

/// The one way to write a split: without empty ranges, neighbours joined, inactive if it holds all.
/// Two valid splits hold the same elements in the same order if same_split() of these.
TensorSplit canonical_split(const Shape& shape, const TensorSplit& split);
bool same_split(const TensorSplit& a, const TensorSplit& b);

/// The ranges of a list, ascending, without empty ones; ranges that touch are joined.
std::vector<Range> join_ranges(std::vector<Range> ranges);

/// The elements `ranges` (as of join_ranges) of a part, in order.
std::vector<SplitRun> runs_of(const Shape& shape, const TensorSplit& split,
                              const std::vector<Range>& ranges);

/// Elements to copy from one part to another.
struct RunCopy {
  std::int64_t from = 0;  ///< first of them in the part that offers them
  std::int64_t to = 0;    ///< first of them in the part that needs them
  std::int64_t count = 0;
};

/// Find what `offered` holds of `needed` (both ascending), and take that off `needed`.
std::vector<RunCopy> take_runs(std::vector<SplitRun>& needed, const std::vector<SplitRun>& offered);

}  // namespace trib::io
