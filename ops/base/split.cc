#include "ops/base/split.h"

namespace trib {

std::vector<Range> ranges_of(const std::vector<std::int64_t>& positions) {
  std::vector<Range> ranges;
  for (const std::int64_t position : positions) {
    if (!ranges.empty() && ranges.back().end == position) {
      ++ranges.back().end;
    } else {
      ranges.push_back({position, position + 1});
    }
  }
  return ranges;
}

Shape local_shape(const Shape& global, const TensorSplit& split) {
  Shape local = global;
  if (!split.active()) return local;
  std::int64_t own = 0;
  for (const Range& range : split.own) own += range.size();
  local[split.axis] = split.groups * own;
  return local;
}

void for_each_run(const Shape& global, const TensorSplit& split,
                  const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& visit) {
  if (!split.active()) {
    visit(0, 0, global.numel());
    return;
  }
  std::int64_t outer = 1, inner = 1;
  for (int axis = 0; axis < split.axis; ++axis) outer *= global[axis];
  for (int axis = split.axis + 1; axis < global.rank(); ++axis) inner *= global[axis];
  const std::int64_t group = global[split.axis] / split.groups * inner;  // elements of a run
  std::int64_t local = 0;
  for (std::int64_t at = 0; at < outer * split.groups * group; at += group) {
    for (const Range& range : split.own) {
      const std::int64_t count = range.size() * inner;
      if (count > 0) visit(local, at + range.begin * inner, count);
      local += count;
    }
  }
}

}  // namespace trib
