#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/regrid/grid_axis.h"
#include "ops/regrid/method_weights.h"

namespace trib::ops {
namespace {

/// Part of the globe between the equator and a latitude: areas are differences of it.
double sine(double degrees) {
  return std::sin(degrees * std::numbers::pi / 180);
}

/// Links of one cell to the cells of the source it overlaps, before they are normalised.
class Overlap {
 public:
  explicit Overlap(SparseMap& map) : map_(map), first_(map.columns.size()) {}

  /// Add the overlaps of the interval with the cells of `source`; `measure` maps degrees to what is
  /// additive.
  template <class Measure>
  void add(const GridAxis& source, double low, double high, const Measure& measure) {
    const auto& edge = source.edge;
    const auto above = std::upper_bound(edge.begin(), edge.end(), low);
    auto i = static_cast<std::size_t>(std::max<std::ptrdiff_t>(above - edge.begin() - 1, 0));
    for (; i < source.size() && edge[i] < high; ++i) {
      const double from = std::max(low, edge[i]), to = std::min(high, edge[i + 1]);
      if (to - from <= kCoordinateTolerance) continue;
      const double part = measure(to) - measure(from);
      map_.link(source.index[i], part);
      covered_degrees_ += to - from;
      total_ += part;
    }
  }

  /// End the target: its weights sum to 1. Returns whether all of its `degrees` are covered.
  bool finish(double degrees, double measured) {
    for (std::size_t k = first_; k < map_.weights.size(); ++k) map_.weights[k] /= total_;
    // Each of the overlaps left out may have been as wide as the tolerance.
    const bool whole = total_ > 0 && degrees - covered_degrees_ <= 4 * kCoordinateTolerance;
    map_.end_target(whole ? 1 : total_ / measured);
    return whole;
  }

 private:
  SparseMap& map_;
  std::size_t first_;
  double covered_degrees_ = 0, total_ = 0;
};

void check_has_cells(const GridAxis& axis, const char* role, const char* name) {
  if (axis.edge.empty()) {
    throw ConfigError(
        fmt::format("regridding: the {} grid has one {}, {}, so that its cell's edges are unknown",
                    role, name, axis.first()));
  }
}

/// Put the targets of a map, which are in ascending order, into the grid's.
SparseMap in_grid_order(SparseMap ascending, const GridAxis& target) {
  if (target.size() < 2 || target.index.front() < target.index.back()) return ascending;
  SparseMap map;
  for (std::size_t t = target.size(); t-- > 0;) {
    const auto begin = static_cast<std::size_t>(ascending.row_begin[t]);
    const auto end = static_cast<std::size_t>(ascending.row_begin[t + 1]);
    for (std::size_t k = begin; k < end; ++k) {
      map.link(ascending.columns[k], ascending.weights[k]);
    }
    map.end_target(ascending.coverage[t]);
  }
  return map;
}

}  // namespace

RegridWeights conservative_weights(const RegularGrid& source, const RegularGrid& target,
                                   bool allow_outside) {
  const GridAxis source_rows = latitude_axis(source, "source");
  const GridAxis source_columns = longitude_axis(source, "source");
  const GridAxis rows = latitude_axis(target, "target");
  const GridAxis columns = longitude_axis(target, "target");
  check_has_cells(source_rows, "source", "latitude");
  check_has_cells(source_columns, "source", "longitude");
  check_has_cells(rows, "target", "latitude");
  check_has_cells(columns, "target", "longitude");
  if (columns.size() != target.longitudes.size()) {
    throw ConfigError(fmt::format("regridding: target longitudes {} and {} are the same meridian",
                                  target.longitudes.front(), target.longitudes.back()));
  }

  RegridWeights weights;
  weights.is_separable = true;
  for (std::size_t t = 0; t < rows.size(); ++t) {
    const double low = rows.edge[t], high = rows.edge[t + 1];
    Overlap overlap(weights.latitude);
    overlap.add(source_rows, low, high, sine);
    if (!overlap.finish(high - low, sine(high) - sine(low)) && !allow_outside) {
      refuse_outside("latitude", rows.position[t], source_rows.edge.front(),
                     source_rows.edge.back(), " with a part of its cell");
    }
  }
  for (std::size_t t = 0; t < columns.size(); ++t) {
    const double low = columns.edge[t], high = columns.edge[t + 1];
    const double turned = turned_onto(low, source_columns.edge.front());
    Overlap overlap(weights.longitude);
    for (const double from : {turned, turned - 360}) {
      overlap.add(source_columns, from, from + (high - low),
                  [](double degrees) { return degrees; });
    }
    if (!overlap.finish(high - low, high - low) && !allow_outside) {
      refuse_outside("longitude", columns.position[t], source_columns.edge.front(),
                     source_columns.edge.back(), " with a part of its cell");
    }
  }
  weights.latitude = in_grid_order(std::move(weights.latitude), rows);
  weights.longitude = in_grid_order(std::move(weights.longitude), columns);
  return weights;
}

}  // namespace trib::ops
