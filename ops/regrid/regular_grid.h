// Regular latitude-longitude grids.
#pragma once

#include <cstdint>
#include <vector>

namespace trib::ops {

/// Cell centres in degrees, in the order of the rows and columns. Fields on the grid are
/// [latitude, longitude].
struct RegularGrid {
  std::vector<double> latitudes;
  std::vector<double> longitudes;
  /// Edges of the cells in the same order, one more than there are centres. Empty: the edges lie
  /// midway between the centres.
  std::vector<double> latitude_edges = {};
  std::vector<double> longitude_edges = {};

  std::int64_t size() const {
    return static_cast<std::int64_t>(latitudes.size() * longitudes.size());
  }
  bool operator==(const RegularGrid&) const = default;
};

/// The global grid of WeatherBench: cells of `degrees`, latitudes ascending from
/// -90 + degrees / 2, longitudes from 0. Throws ConfigError unless `degrees` divides 180.
RegularGrid weatherbench_grid(double degrees);

/// A global grid of `rows` x `columns`: latitudes ascend and are either centres of equal cells or,
/// with `poles`, begin and end at the poles; longitudes ascend from 0. Throws ConfigError for less
/// than two rows or columns.
RegularGrid global_grid(std::int64_t rows, std::int64_t columns, bool poles);

/// A Gaussian grid: `rows` latitudes, ascending, whose sines are the roots of the Legendre
/// polynomial of that degree, and `columns` longitudes from 0. Throws ConfigError for less than two
/// rows or columns.
RegularGrid gaussian_grid(std::int64_t rows, std::int64_t columns);

/// `count` equally spaced values from `first` to `last`, both included.
std::vector<double> evenly_spaced(double first, double last, std::int64_t count);

/// The grid with axes turned so that they ascend, and longitudes that go on counting where they
/// step over 0 or 180 (359, 0 becomes 359, 360). Throws ConfigError if an axis is empty or not
/// strictly monotone, or if latitudes leave -90 .. 90.
RegularGrid ascending_grid(const RegularGrid& grid);

}  // namespace trib::ops
