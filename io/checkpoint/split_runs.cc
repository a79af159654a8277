#include "io/checkpoint/split_runs.h"

#include <algorithm>

#include <fmt/format.h>

namespace trib::io {

std::string split_error(const Shape& shape, const TensorSplit& split) {
  if (split.axis == -1) return "";
  if (split.axis < 0 || split.axis >= shape.rank()) {
    return fmt::format("split along axis {} of shape {}", split.axis, shape.to_string());
  }
  const std::int64_t extent = shape[split.axis];
  if (split.groups < 1 || extent % split.groups != 0) {
    return fmt::format("split of {} groups along axis {} of shape {}", split.groups, split.axis,
                       shape.to_string());
  }
  std::int64_t end = 0;
  for (const Range& range : split.own) {
    if (range.begin < end || range.end < range.begin || range.end > extent / split.groups) {
      return fmt::format("split into {}..{}, expected ascending ranges within 0..{}", range.begin,
                         range.end, extent / split.groups);
    }
    end = range.end;
  }
  return "";
}

TensorSplit canonical_split(const Shape& shape, const TensorSplit& split) {
  if (!split.active()) return {};
  TensorSplit canonical = split;
  canonical.own = join_ranges(split.own);
  const Range all{0, shape[split.axis] / split.groups};
  if (canonical.own == std::vector<Range>{all}) return {};
  return canonical;
}

bool same_split(const TensorSplit& a, const TensorSplit& b) {
  if (!a.active() || !b.active()) return a.active() == b.active();
  return a.axis == b.axis && a.groups == b.groups && a.own == b.own;
}

std::vector<Range> join_ranges(std::vector<Range> ranges) {
  std::erase_if(ranges, [](const Range& range) { return range.size() <= 0; });
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::vector<Range> joined;
  for (const Range& range : ranges) {
    if (!joined.empty() && range.begin <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, range.end);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

std::vector<SplitRun> runs_of(const Shape& shape, const TensorSplit& split,
                              const std::vector<Range>& ranges) {
  std::vector<SplitRun> runs;
  auto range = ranges.begin();
  for_each_run(shape, split, [&](std::int64_t local, std::int64_t global, std::int64_t count) {
    while (range != ranges.end() && range->end <= local) ++range;
    for (auto at = range; at != ranges.end() && at->begin < local + count; ++at) {
      const std::int64_t begin = std::max(at->begin, local);
      const std::int64_t end = std::min(at->end, local + count);
      const SplitRun run{begin, global + begin - local, end - begin};
      if (!runs.empty() && runs.back().local + runs.back().count == run.local &&
          runs.back().global + runs.back().count == run.global) {
        runs.back().count += run.count;
      } else {
        runs.push_back(run);
      }
    }
  });
  return runs;
}

std::vector<RunCopy> take_runs(std::vector<SplitRun>& needed,
                               const std::vector<SplitRun>& offered) {
  std::vector<RunCopy> copies;
  std::vector<SplitRun> rest;
  auto offer = offered.begin();
  for (SplitRun need : needed) {
    const std::int64_t end = need.global + need.count;
    while (offer != offered.end() && offer->global + offer->count <= need.global) ++offer;
    for (auto at = offer; at != offered.end() && at->global < end; ++at) {
      const std::int64_t skip = std::max<std::int64_t>(at->global - need.global, 0);
      if (skip > 0) rest.push_back({need.local, need.global, skip});
      const std::int64_t begin = need.global + skip;
      const std::int64_t count = std::min(end, at->global + at->count) - begin;
      copies.push_back({at->local + begin - at->global, need.local + skip, count});
      need = {need.local + skip + count, begin + count, end - begin - count};
    }
    if (need.count > 0) rest.push_back(need);
  }
  needed = std::move(rest);
  return copies;
}

}  // namespace trib::io
