// One file of fields on a latitude-longitude grid: what its header says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/grid/calendar.h"
#include "io/grid/grid_axes.h"
#include "io/grid/grid_levels.h"
#include "io/grid/netcdf_file.h"
#include "io/image.h"
#include "io/unpack.h"

namespace trib::io {

/// A variable with a latitude and a longitude axis.
struct GridVariable {
  NetcdfVariable variable;
  std::string name;  ///< short name: "t", "t2m"
  std::string units;
  std::vector<AxisRole> roles;    ///< of each axis, in file order
  std::vector<GridLevel> levels;  ///< in file order; empty for surface variables
  Packing packing;
  std::vector<int> bands;           ///< in a GRIB file, of its fields: [level, time, member]
  std::vector<std::int64_t> shape;  ///< of each axis
  std::int64_t chunk_bytes = 0;     ///< of the chunks that one image touches; 0 without chunks

  bool has(AxisRole role) const;
};

/// Header of a file.
struct GridHeader {
  std::string path;
  std::string gdal_path;  ///< of a GRIB file, as GDAL opens it; empty for NetCDF
  LatLonGrid grid;        ///< latitudes and longitudes ascending
  bool reversed_latitude = false, reversed_longitude = false;  ///< order in the file
  TimeKind time_kind = TimeKind::none;
  Calendar calendar = Calendar::gregorian;
  std::vector<double> times;  ///< see calendar.h; NaN in a climatology; empty without time
  std::int64_t num_members = 1;
  std::int64_t num_versions = 1;
  std::vector<GridVariable> variables;
  bool is_static = false;  ///< its fields are repeated at all times, whatever its own times
  std::vector<std::string> left_out;  ///< "name: reason" of variables on the grid not offered
};

/// Read the header: find the axes, decode times and packing. Where a file has several grids, that
/// of the first variable counts. Throws DataError if there is no regular latitude-longitude grid.
GridHeader read_grid_header(const NetcdfFile& file);

/// Uncompressed bytes of one image (a time and member) of a variable.
struct ImageBytes {
  std::int64_t of_values = 0;  ///< the values themselves
  std::int64_t in_chunks = 0;  ///< all of the chunks they lie in; 0 if the file is not chunked
};
ImageBytes image_bytes(const NetcdfFile& file, const GridVariable& variable);

}  // namespace trib::io
