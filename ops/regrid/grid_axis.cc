#include "ops/regrid/grid_axis.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::ops {
namespace {

struct AxisNames {
  std::string_view role, name;  // "source", "latitude"
};

GridAxis ascending_axis(const AxisNames& names, const std::vector<double>& values) {
  if (values.empty()) {
    throw ConfigError(fmt::format("regridding: the {} grid has no {}s", names.role, names.name));
  }
  GridAxis axis;
  axis.position = values;
  axis.index.resize(values.size());
  std::iota(axis.index.begin(), axis.index.end(), 0);
  if (values.back() < values.front()) {
    std::reverse(axis.position.begin(), axis.position.end());
    std::reverse(axis.index.begin(), axis.index.end());
  }
  for (std::size_t i = 0; i < axis.size(); ++i) {
    if (!std::isfinite(axis.position[i])) {
      throw ConfigError(fmt::format("regridding: {} {} number {} is {}", names.role, names.name,
                                    axis.index[i], axis.position[i]));
    }
    if (i > 0 && !(axis.position[i] > axis.position[i - 1])) {
      throw ConfigError(fmt::format(
          "regridding: {} {}s must be strictly monotone, found {} next to {} at index {}",
          names.role, names.name, axis.position[i - 1], axis.position[i], axis.index[i]));
    }
  }
  return axis;
}

/// Edges midway between the positions; the outermost cells reach as far out as in.
void set_midway_edges(GridAxis& axis) {
  const std::size_t n = axis.size();
  if (n < 2) return;
  axis.edge.resize(n + 1);
  for (std::size_t i = 1; i < n; ++i) {
    axis.edge[i] = (axis.position[i - 1] + axis.position[i]) / 2;
  }
  axis.edge[0] = 2 * axis.position[0] - axis.edge[1];
  axis.edge[n] = 2 * axis.position[n - 1] - axis.edge[n - 1];
}

/// The grid's own edges, in the order of the axis.
void set_given_edges(GridAxis& axis, const std::vector<double>& edges, const AxisNames& names) {
  if (edges.size() != axis.size() + 1) {
    throw ConfigError(fmt::format("regridding: {} {}s are {}, their cells' edges {}; expected {}",
                                  names.role, names.name, axis.size(), edges.size(),
                                  axis.size() + 1));
  }
  axis.edge = edges;
  if (axis.index.front() > axis.index.back()) std::reverse(axis.edge.begin(), axis.edge.end());
}

void check_edges(const GridAxis& axis, const AxisNames& names) {
  for (std::size_t i = 0; i + 1 < axis.edge.size(); ++i) {
    const double low = axis.edge[i], high = axis.edge[i + 1], centre = axis.position[i];
    if (low < high && low <= centre + kCoordinateTolerance && centre - kCoordinateTolerance <= high)
      continue;
    throw ConfigError(fmt::format("regridding: the cell of {} {} {} has the edges {} and {}",
                                  names.role, names.name, centre, low, high));
  }
}

/// Whether the axis goes round the globe. A repetition of its first point 360 degrees later is
/// left out then.
bool close_circle(GridAxis& axis) {
  double largest_step = 0;
  for (std::size_t i = 1; i < axis.size(); ++i) {
    largest_step = std::max(largest_step, axis.position[i] - axis.position[i - 1]);
  }
  const double gap = axis.first() + 360 - axis.last();
  if (gap > largest_step + static_cast<double>(axis.size()) * kCoordinateTolerance) return false;
  if (gap <= kCoordinateTolerance) {
    axis.position.pop_back();
    axis.index.pop_back();
  }
  return true;
}

}  // namespace

double degrees_apart(double longitude, double other) {
  return std::remainder(longitude - other, 360.0);
}

double turned_onto(double longitude, double first) {
  return longitude - 360 * std::floor((longitude - first + kCoordinateTolerance) / 360);
}

GridAxis latitude_axis(const RegularGrid& grid, std::string_view role) {
  const AxisNames names{role, "latitude"};
  GridAxis axis = ascending_axis(names, grid.latitudes);
  if (axis.first() < -90 - kCoordinateTolerance || axis.last() > 90 + kCoordinateTolerance) {
    throw ConfigError(fmt::format("regridding: {} latitudes {} .. {} leave -90 .. 90", role,
                                  axis.first(), axis.last()));
  }
  if (!grid.latitude_edges.empty()) {
    set_given_edges(axis, grid.latitude_edges, names);
  } else {
    set_midway_edges(axis);
    if (axis.edge.empty()) return axis;
    double& south = axis.edge.front();
    double& north = axis.edge.back();
    if (south + 90 <= axis.first() - south + kCoordinateTolerance) south = -90;
    if (90 - north <= north - axis.last() + kCoordinateTolerance) north = 90;
  }
  axis.edge.front() = std::max(axis.edge.front(), -90.0);
  axis.edge.back() = std::min(axis.edge.back(), 90.0);
  check_edges(axis, names);
  return axis;
}

// Longitudes are made continuous: 350, 355, 0, 5 becomes 350, 355, 360, 365.
GridAxis longitude_axis(const RegularGrid& grid, std::string_view role) {
  const AxisNames names{role, "longitude"};
  std::vector<double> continuous = grid.longitudes;
  for (std::size_t i = 1; i < continuous.size(); ++i) {
    continuous[i] = continuous[i - 1] + degrees_apart(grid.longitudes[i], grid.longitudes[i - 1]);
  }
  GridAxis axis = ascending_axis(names, continuous);
  if (const double span = axis.last() - axis.first(); span > 360 + kCoordinateTolerance) {
    throw ConfigError(
        fmt::format("regridding: {} longitudes overlap, they span {} degrees", role, span));
  }
  const std::size_t points = axis.size();
  axis.is_circle = points > 1 && close_circle(axis);
  if (grid.longitude_edges.empty() || axis.size() != points) {
    set_midway_edges(axis);
    if (axis.is_circle && axis.size() > 1) {
      axis.edge.front() = (axis.first() + axis.last() - 360) / 2;
      axis.edge.back() = axis.edge.front() + 360;
    }
  } else {
    set_given_edges(axis, grid.longitude_edges, names);
    for (std::size_t i = 0; i < axis.edge.size(); ++i) {
      const double centre = axis.position[std::min(i, axis.size() - 1)];
      axis.edge[i] = centre + degrees_apart(axis.edge[i], centre);
    }
  }
  check_edges(axis, names);
  return axis;
}

}  // namespace trib::ops
