// Levels of variables and the names they give to channels.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/grid/netcdf_file.h"

namespace trib::io {

/// A level of a variable.
struct GridLevel {
  double hpa;  ///< NaN if it is not a level of pressure
  std::string
      label;  ///< "850" in hPa, "l137" of a model, "depth0.07"; empty for a surface variable
};

/// Levels along a dimension; `coordinate` gives their values and may be null.
std::vector<GridLevel> levels_of(const NetcdfFile& file, const NetcdfDimension& dimension,
                                 const NetcdfVariable* coordinate);

/// Level of a variable cut out of a file with levels: the scalar pressure its attribute
/// `coordinates` names. Empty if there is none.
std::vector<GridLevel> scalar_level(const NetcdfFile& file, const NetcdfVariable& variable);

/// Whether an axis of this name (in lower case) is one of levels: "plev", "hybrid", "level".
bool is_level_name(std::string_view name);
/// Whether these units (in lower case) are of pressure.
bool is_pressure_unit(std::string_view units);

}  // namespace trib::io
