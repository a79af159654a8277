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

/// A level of a variable.
struct GridLevel {
  double hpa;  ///< NaN if it is not a level of pressure
  std::string
      label;  ///< "850" in hPa, "l137" of a model, "depth0.07"; empty for a surface variable
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

/// Levels along an axis of role `level`.
std::vector<GridLevel> levels_of(const NetcdfFile& file, int dimension, const GridAxis& axis);

/// Level of a variable cut out of a file with levels: the scalar pressure its attribute
/// `coordinates` names. Empty if there is none.
std::vector<GridLevel> scalar_level(const NetcdfFile& file, const NetcdfVariable& variable);

}  // namespace trib::io
