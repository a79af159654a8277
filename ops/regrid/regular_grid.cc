#include "ops/regrid/regular_grid.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/regrid/grid_axis.h"

namespace trib::ops {
namespace {

void check_extent(std::int64_t rows, std::int64_t columns) {
  if (rows < 2 || columns < 2) {
    throw ConfigError(
        fmt::format("a global grid has at least 2 x 2 points, found {} x {}", rows, columns));
  }
}

std::vector<double> longitudes_from_zero(std::int64_t count) {
  std::vector<double> longitudes;
  for (std::int64_t i = 0; i < count; ++i) {
    longitudes.push_back(360 * static_cast<double>(i) / static_cast<double>(count));
  }
  return longitudes;
}

/// Root number `i` (from 1) of the Legendre polynomial of degree `n`, by Newton's method.
double legendre_root(std::int64_t n, std::int64_t i) {
  const auto degree = static_cast<double>(n);
  double x = std::cos(std::numbers::pi * (static_cast<double>(i) - 0.25) / (degree + 0.5));
  for (int iteration = 0; iteration < 100; ++iteration) {
    double value = 1, previous = 0;
    for (std::int64_t k = 1; k <= n; ++k) {
      const auto order = static_cast<double>(k);
      const double next = ((2 * order - 1) * x * value - (order - 1) * previous) / order;
      previous = value;
      value = next;
    }
    const double step = value * (x * x - 1) / (degree * (x * value - previous));
    x -= step;
    if (std::abs(step) < 1e-15) break;
  }
  return x;
}

}  // namespace

RegularGrid weatherbench_grid(double degrees) {
  const double rows = 180 / degrees;
  if (!(degrees > 0) || std::abs(rows - std::round(rows)) > 1e-9 * rows) {
    throw ConfigError(fmt::format("grid spacing must divide 180 degrees, found {}", degrees));
  }
  RegularGrid grid;
  const auto count = static_cast<std::int64_t>(std::llround(rows));
  for (std::int64_t i = 0; i < count; ++i) {
    grid.latitudes.push_back(-90 + degrees * (static_cast<double>(i) + 0.5));
  }
  for (std::int64_t i = 0; i < 2 * count; ++i) {
    grid.longitudes.push_back(degrees * static_cast<double>(i));
  }
  return grid;
}

RegularGrid global_grid(std::int64_t rows, std::int64_t columns, bool poles) {
  check_extent(rows, columns);
  const double half_cell = poles ? 0 : 90 / static_cast<double>(rows);
  return {evenly_spaced(-90 + half_cell, 90 - half_cell, rows), longitudes_from_zero(columns)};
}

RegularGrid gaussian_grid(std::int64_t rows, std::int64_t columns) {
  check_extent(rows, columns);
  std::vector<double> latitudes;
  for (std::int64_t i = rows; i >= 1; --i) {
    latitudes.push_back(std::asin(legendre_root(rows, i)) * 180 / std::numbers::pi);
  }
  return {std::move(latitudes), longitudes_from_zero(columns)};
}

std::vector<double> evenly_spaced(double first, double last, std::int64_t count) {
  std::vector<double> values{first};
  const double step = (last - first) / static_cast<double>(std::max<std::int64_t>(count - 1, 1));
  for (std::int64_t i = 1; i < count; ++i) {
    values.push_back(i + 1 == count ? last : first + step * static_cast<double>(i));
  }
  return values;
}

RegularGrid ascending_grid(const RegularGrid& grid) {
  const GridAxis rows = latitude_axis(grid, "target");
  const GridAxis columns = longitude_axis(grid, "target");
  if (columns.size() != grid.longitudes.size()) {
    throw ConfigError(fmt::format("regridding: target longitudes {} and {} are the same meridian",
                                  grid.longitudes.front(), grid.longitudes.back()));
  }
  RegularGrid ascending{rows.position, columns.position};
  if (!grid.latitude_edges.empty()) ascending.latitude_edges = rows.edge;
  if (!grid.longitude_edges.empty()) ascending.longitude_edges = columns.edge;
  return ascending;
}

}  // namespace trib::ops
