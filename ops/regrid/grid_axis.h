// An axis of a regular grid made ready for searching: ascending, longitudes continuous.
//
// Used by the makers of weights only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "ops/regrid/regular_grid.h"

namespace trib::ops {

// Files often keep coordinates in single precision, which resolves 360 degrees to 3e-5.
inline constexpr double kCoordinateTolerance = 2e-5;

/// Positions in ascending order, each with its index in the grid. Cell i reaches from edge[i] to
/// edge[i + 1]; `edge` is empty for a single point without edges of its own.
struct GridAxis {
  std::vector<double> position;
  std::vector<std::int32_t> index;
  std::vector<double> edge;
  bool is_circle = false;  ///< of longitudes that go round the globe

  std::size_t size() const { return position.size(); }
  double first() const { return position.front(); }
  double last() const { return position.back(); }
};

/// Axes of a grid; `role` ("source", "target") is for messages. A circle does not have its first
/// column twice: a file's repetition of it is left out. Latitude edges stay within the poles and,
/// where the rest to a pole is no wider than half a cell, reach it. Throw ConfigError for axes that
/// are not strictly monotone, leave -90 .. 90 or overlap.
GridAxis latitude_axis(const RegularGrid& grid, std::string_view role);
GridAxis longitude_axis(const RegularGrid& grid, std::string_view role);

/// Difference of two longitudes, -180 .. 180.
double degrees_apart(double longitude, double other);

/// `longitude` moved by whole turns to lie in [first, first + 360), with the tolerance below first.
double turned_onto(double longitude, double first);

}  // namespace trib::ops
