// Which axes of a NetCDF file are latitude, longitude, time, level and so on: by the attributes of
// the CF conventions (units, standard_name, axis, positive), else by name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/grid/netcdf_file.h"

namespace trib::io {

/// What an axis of a variable is.
enum class AxisRole : std::uint8_t {
  time,
  member,   ///< ensemble member ("number")
  version,  ///< "expver": final and preliminary ERA5, each missing where the other has values
  level,    ///< pressure, model level, depth: each is a channel of its own
  latitude,
  longitude,
  single,  ///< any other axis of length one
};

/// How the images of a file are told apart.
enum class TimeKind : std::uint8_t {
  none,         ///< no time: one image, the same at all times
  calendar,     ///< a time axis or a scalar time
  climatology,  ///< months, days or hours of an unnamed year
};

/// A dimension and the variable that gives its coordinates.
struct GridAxis {
  AxisRole role = AxisRole::single;
  const NetcdfVariable* coordinate = nullptr;  ///< null if it has none
};

/// The axes of a file. Dimensions without a role are not in the map.
struct GridAxes {
  std::map<int, GridAxis> roles;        ///< by dimension
  std::map<int, std::string> unusable;  ///< why a dimension has no role, if there is more to say
  TimeKind time_kind = TimeKind::none;
  int time_dimension = -1;
  const NetcdfVariable* time = nullptr;  ///< variable of the calendar, perhaps a scalar
};

/// Find the axes. Throws DataError for a file without regular latitudes and longitudes.
GridAxes find_axes(const NetcdfFile& file);

}  // namespace trib::io
