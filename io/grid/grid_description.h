// Files that describe a grid to regrid to.
#pragma once

#include <string>

#include "ops/regrid/regular_grid.h"

namespace trib::io {

/// Read a regular latitude-longitude grid from
///   - a NetCDF file: its latitude and longitude coordinates (known by units, standard_name or
///     name) with their bounds, if it has any; no field is needed;
///   - a text file as `cdo griddes` writes it: gridtype lonlat with xsize, xfirst, xinc or xvals
///     (and xbounds), the same for y; or gridtype gaussian, whose latitudes are computed if it does
///     not list them.
/// Axes ascend. Throws DataError naming the file and the key or variable.
ops::RegularGrid read_grid_description(const std::string& path);

}  // namespace trib::io
