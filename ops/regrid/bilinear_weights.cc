#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "ops/base/error.h"
#include "ops/regrid/grid_axis.h"
#include "ops/regrid/method_weights.h"

namespace trib::ops {
namespace {

bool is_within(const GridAxis& axis, double x) {
  return x >= axis.first() - kCoordinateTolerance && x <= axis.last() + kCoordinateTolerance;
}

/// Link a target at x to the neighbours it lies between.
void link_neighbours(SparseMap& map, const GridAxis& axis, double x) {
  const auto above = std::upper_bound(axis.position.begin() + 1, axis.position.end() - 1, x);
  const auto high = static_cast<std::size_t>(above - axis.position.begin());
  const double from = axis.position[high - 1], to = axis.position[high];
  double t = (x - from) / (to - from);
  if (x - from < kCoordinateTolerance) t = 0;
  if (to - x < kCoordinateTolerance) t = 1;
  if (t < 1) map.link(axis.index[high - 1], 1 - t);
  if (t > 0) map.link(axis.index[high], t);
  map.end_target(1);
}

SparseMap along_longitude(GridAxis axis, const RegularGrid& target, bool allow_outside) {
  SparseMap map;
  const double first = axis.first(), last = axis.last();
  if (axis.is_circle) {
    axis.position.push_back(first + 360);
    axis.index.push_back(axis.index.front());
  }
  for (const double longitude : target.longitudes) {
    const double x = turned_onto(longitude, first);
    if (is_within(axis, x)) {
      link_neighbours(map, axis, x);
    } else if (allow_outside && std::isfinite(longitude)) {
      map.end_target(0);
    } else {
      refuse_outside("longitude", longitude, first, last);
    }
  }
  return map;
}

/// Targets beyond the outermost row of a global source.
class Extrapolation {
 public:
  Extrapolation(const RegularGrid& source, const GridAxis& rows, bool is_global)
      : source_(source), rows_(rows), is_global_(is_global) {}

  bool reaches(double latitude) const {
    return is_global_ && std::abs(latitude) <= 90 + kCoordinateTolerance &&
           std::abs(latitude - rows_.position[edge(latitude)]) <=
               spacing(latitude) + kCoordinateTolerance;
  }

  /// Add a row of targets: four nearest points of the outermost row.
  void add(SparseMap& map, double latitude, const std::vector<double>& longitudes) const {
    const std::int32_t row = rows_.index[edge(latitude)];
    const auto row_length = static_cast<std::int32_t>(source_.longitudes.size());
    for (const double longitude : longitudes) {
      const std::vector<std::int32_t> nearest = nearest_columns(longitude);
      double total = 0;
      for (const std::int32_t column : nearest)
        total += closeness(latitude, longitude, row, column);
      for (const std::int32_t column : nearest) {
        map.link(row * row_length + column, closeness(latitude, longitude, row, column) / total);
      }
      map.end_target(1);
    }
  }

 private:
  std::size_t edge(double latitude) const {
    return latitude < rows_.first() ? 0 : rows_.size() - 1;
  }
  double spacing(double latitude) const {
    const std::size_t e = std::max<std::size_t>(edge(latitude), 1);
    return rows_.position[e] - rows_.position[e - 1];
  }

  /// The four columns nearest in longitude; of equals the one that comes first.
  std::vector<std::int32_t> nearest_columns(double longitude) const {
    const auto row_length = static_cast<std::int32_t>(source_.longitudes.size());
    const auto distance = [&](std::int32_t column) {
      return std::abs(
          degrees_apart(source_.longitudes[static_cast<std::size_t>(column)], longitude));
    };
    std::vector<std::int32_t> columns(source_.longitudes.size());
    std::iota(columns.begin(), columns.end(), 0);
    const auto end = columns.begin() + std::min<std::int32_t>(4, row_length);
    std::partial_sort(columns.begin(), end, columns.end(), [&](std::int32_t a, std::int32_t b) {
      return std::pair(distance(a), a) < std::pair(distance(b), b);
    });
    columns.erase(end, columns.end());
    return columns;
  }

  /// Inverse of the great-circle distance (haversine formula) to a point of the source.
  double closeness(double latitude, double longitude, std::int32_t row, std::int32_t column) const {
    constexpr double kRadians = std::numbers::pi / 180;
    const double there = source_.latitudes[static_cast<std::size_t>(row)];
    const double turn =
        degrees_apart(longitude, source_.longitudes[static_cast<std::size_t>(column)]);
    const double north = std::sin((latitude - there) * kRadians / 2);
    const double east = std::sin(turn * kRadians / 2);
    const double haversine =
        north * north + std::cos(latitude * kRadians) * std::cos(there * kRadians) * east * east;
    return 1 / std::asin(std::sqrt(haversine));
  }

  const RegularGrid& source_;
  const GridAxis& rows_;
  bool is_global_;
};

/// Add a row of targets whose weights are products of those along the axes.
void add_products(SparseMap& map, const SparseMap& rows, std::size_t row, const SparseMap& columns,
                  std::int32_t row_length) {
  const auto links = [](const SparseMap& m, std::size_t t) {
    return std::pair(static_cast<std::size_t>(m.row_begin[t]),
                     static_cast<std::size_t>(m.row_begin[t + 1]));
  };
  const auto [row_begin, row_end] = links(rows, row);
  for (std::size_t c = 0; c < columns.coverage.size(); ++c) {
    const auto [column_begin, column_end] = links(columns, c);
    for (std::size_t i = row_begin; i < row_end; ++i) {
      for (std::size_t j = column_begin; j < column_end; ++j) {
        map.link(rows.columns[i] * row_length + columns.columns[j],
                 rows.weights[i] * columns.weights[j]);
      }
    }
    map.end_target(rows.coverage[row] * columns.coverage[c]);
  }
}

}  // namespace

RegridWeights bilinear_weights(const RegularGrid& source, const RegularGrid& target,
                               bool allow_outside) {
  const GridAxis rows = latitude_axis(source, "source");
  const GridAxis columns = longitude_axis(source, "source");
  const Extrapolation beyond(source, rows, columns.is_circle);

  RegridWeights weights;
  weights.longitude = along_longitude(columns, target, allow_outside);
  weights.is_separable = true;
  for (const double latitude : target.latitudes) {
    if (is_within(rows, latitude)) {
      link_neighbours(weights.latitude, rows, latitude);
    } else if (beyond.reaches(latitude)) {
      weights.latitude.end_target(1);  // its links depend on the longitude
      weights.is_separable = false;
    } else if (allow_outside && std::isfinite(latitude)) {
      weights.latitude.end_target(0);
    } else {
      refuse_outside("latitude", latitude, rows.first(), rows.last(),
                     columns.is_circle ? " (by more than one cell)" : " (which is regional)");
    }
  }
  if (weights.is_separable) return weights;

  const auto row_length = static_cast<std::int32_t>(source.longitudes.size());
  for (std::size_t t = 0; t < target.latitudes.size(); ++t) {
    const double latitude = target.latitudes[t];
    if (!is_within(rows, latitude) && beyond.reaches(latitude)) {
      beyond.add(weights.points, latitude, target.longitudes);
    } else {
      add_products(weights.points, weights.latitude, t, weights.longitude, row_length);
    }
  }
  weights.latitude = weights.longitude = {};
  return weights;
}

}  // namespace trib::ops
