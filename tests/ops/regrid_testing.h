// Grids, fields and NetCDF files for the tests of regridding.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <netcdf.h>

#include "ops/base/error.h"
#include "ops/regrid/regrid_weights.h"

namespace trib::ops {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline std::vector<double> steps(double first, double step, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = first + step * static_cast<double>(i);
  return values;
}

/// The grid of ERA5 at 0.25 degrees: latitudes descending, poles included.
inline RegularGrid era5_grid() {
  return {steps(90, -0.25, 721), steps(0, 0.25, 1440)};
}

/// Smooth, periodic, different at every point.
inline double wave(double latitude, double longitude) {
  constexpr double kRadians = M_PI / 180;
  return 280 + 30 * std::cos(latitude * kRadians) +
         5 * std::sin(3 * longitude * kRadians) * std::cos(2 * latitude * kRadians) +
         2 * std::cos(40 * longitude * kRadians + latitude);
}

template <class Function>
std::vector<float> sample(const RegularGrid& grid, const Function& function) {
  std::vector<float> field;
  for (const double latitude : grid.latitudes) {
    for (const double longitude : grid.longitudes) {
      field.push_back(static_cast<float>(function(latitude, longitude)));
    }
  }
  return field;
}

inline std::vector<float> regridded(const RegridWeights& weights, const std::vector<float>& in,
                                    std::int64_t fields = 1, const MissingPolicy& missing = {}) {
  std::vector<float> out(static_cast<std::size_t>(fields * weights.target_size), kNan);
  weights.apply(out.data(), in.data(), fields, missing);
  return out;
}

inline void check_netcdf(int status, const std::string& what) {
  if (status != NC_NOERR) throw DataError(what + ": " + nc_strerror(status));
}

/// A variable as doubles, unpacked.
inline std::vector<double> read_netcdf(const std::string& path, const std::string& name) {
  int file = 0, variable = 0, rank = 0;
  check_netcdf(nc_open(path.c_str(), NC_NOWRITE, &file), path);
  check_netcdf(nc_inq_varid(file, name.c_str(), &variable), path + ":" + name);
  std::vector<int> dimensions(NC_MAX_VAR_DIMS);
  check_netcdf(nc_inq_varndims(file, variable, &rank), path);
  check_netcdf(nc_inq_vardimid(file, variable, dimensions.data()), path);
  std::size_t size = 1;
  for (int axis = 0; axis < rank; ++axis) {
    std::size_t extent = 0;
    check_netcdf(nc_inq_dimlen(file, dimensions[static_cast<std::size_t>(axis)], &extent), path);
    size *= extent;
  }
  std::vector<double> values(size);
  check_netcdf(nc_get_var_double(file, variable, values.data()), path);
  double scale = 1, offset = 0;
  nc_get_att_double(file, variable, "scale_factor", &scale);
  nc_get_att_double(file, variable, "add_offset", &offset);
  double fill = NAN, missing = NAN;
  nc_get_att_double(file, variable, "_FillValue", &fill);
  nc_get_att_double(file, variable, "missing_value", &missing);
  for (double& value : values) {
    value = value == fill || value == missing ? NAN : value * scale + offset;
  }
  nc_close(file);
  return values;
}

}  // namespace trib::ops
