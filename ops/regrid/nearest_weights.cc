#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "ops/base/error.h"
#include "ops/regrid/grid_axis.h"
#include "ops/regrid/method_weights.h"

namespace trib::ops {
namespace {

bool is_inside(const GridAxis& axis, double x) {
  return x >= axis.edge.front() - kCoordinateTolerance &&
         x <= axis.edge.back() + kCoordinateTolerance;
}

/// Index in the grid of the point nearest to x; of two equally near the lower index.
std::int32_t nearest_index(const GridAxis& axis, double x) {
  const auto above = std::lower_bound(axis.position.begin(), axis.position.end(), x);
  if (above == axis.position.begin()) return axis.index.front();
  if (above == axis.position.end()) return axis.index.back();
  const auto high = static_cast<std::size_t>(above - axis.position.begin());
  const double nearer_high = (x - axis.position[high - 1]) - (axis.position[high] - x);
  const std::int32_t low_index = axis.index[high - 1], high_index = axis.index[high];
  if (std::abs(nearer_high) <= kCoordinateTolerance) return std::min(low_index, high_index);
  return nearer_high > 0 ? high_index : low_index;
}

/// A circle with a neighbour beyond each end, any other axis as it is.
GridAxis with_neighbours(GridAxis axis) {
  if (!axis.is_circle) return axis;
  const double before = axis.last() - 360, after = axis.first() + 360;
  const std::int32_t first_index = axis.index.front(), last_index = axis.index.back();
  axis.position.insert(axis.position.begin(), before);
  axis.index.insert(axis.index.begin(), last_index);
  axis.position.push_back(after);
  axis.index.push_back(first_index);
  return axis;
}

/// Column nearest to a target in any row; none if it lies outside.
std::optional<std::int32_t> nearest_column(const GridAxis& axis, double longitude) {
  const double x = turned_onto(longitude, axis.edge.front());
  if (!is_inside(axis, x)) return std::nullopt;  // NaN neither
  return nearest_index(axis, x);
}

}  // namespace

// On a meridian `apart` degrees away from the target, the point nearest to it is not at its own
// latitude but nearer to the pole: where the great circle through the target meets that meridian
// at a right angle. The nearest row is the one nearest to that point.
RegridWeights nearest_weights(const RegularGrid& source, const RegularGrid& target,
                              bool allow_outside) {
  constexpr double kRadians = std::numbers::pi / 180;
  const GridAxis rows = latitude_axis(source, "source");
  const GridAxis columns = with_neighbours(longitude_axis(source, "source"));
  const auto row_length = static_cast<std::int32_t>(source.longitudes.size());

  struct Column {
    std::optional<std::int32_t> index;
    double cos_apart = 0;
  };
  std::vector<Column> across;
  for (const double longitude : target.longitudes) {
    Column column{nearest_column(columns, longitude)};
    if (column.index) {
      const double there = source.longitudes[static_cast<std::size_t>(*column.index)];
      column.cos_apart = std::cos(degrees_apart(longitude, there) * kRadians);
    } else if (!allow_outside || !std::isfinite(longitude)) {
      refuse_outside("longitude", longitude, columns.edge.front(), columns.edge.back());
    }
    across.push_back(column);
  }

  RegridWeights weights;
  for (const double latitude : target.latitudes) {
    const bool inside = is_inside(rows, latitude);
    if (!inside && (!allow_outside || !std::isfinite(latitude))) {
      refuse_outside("latitude", latitude, rows.edge.front(), rows.edge.back());
    }
    for (const Column& column : across) {
      if (!inside || !column.index) {
        weights.points.end_target(0);
        continue;
      }
      const double meets = std::atan2(std::sin(latitude * kRadians),
                                      std::cos(latitude * kRadians) * column.cos_apart) /
                           kRadians;
      weights.points.link(nearest_index(rows, meets) * row_length + *column.index, 1);
      weights.points.end_target(1);
    }
  }
  return weights;
}

}  // namespace trib::ops
