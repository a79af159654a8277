// How a tensor is cut into parts that ranks hold.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ops/base/shape.h"

namespace trib {

/// The half-open range [begin, end).
struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

/// Part number `part` of `parts` nearly equal consecutive parts of 0 .. count.
constexpr Range balanced_part(std::int64_t count, std::int64_t part, std::int64_t parts) {
  return {part * count / parts, (part + 1) * count / parts};
}

/// Ranges that hold ascending positions.
std::vector<Range> ranges_of(const std::vector<std::int64_t>& positions);

/// The part of a tensor that a rank holds. The axis is made of `groups` equal runs laid end to end
/// (rows of queries, keys and values in attn.qkv; pixels in decoder_pred), and of each run the rank
/// holds the ranges `own`.
struct TensorSplit {
  int axis = -1;  ///< -1: the rank holds all of it
  std::int64_t groups = 1;
  std::vector<Range> own = {};

  bool active() const { return axis >= 0; }
  /// All of a tensor on the rank that owns it, nothing of it on the others.
  static TensorSplit owned(bool is_owner, const Shape& shape) {
    return {.axis = 0, .own = {{0, is_owner ? shape[0] : 0}}};
  }
};

/// The shape of a rank's part.
Shape local_shape(const Shape& global, const TensorSplit& split);

/// Call visit(local, global, count) for each run of `count` elements that lies together both in the
/// rank's part (from element `local`) and in the whole tensor (from element `global`), in order.
void for_each_run(const Shape& global, const TensorSplit& split,
                  const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& visit);

}  // namespace trib
