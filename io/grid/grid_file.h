// One NetCDF file of fields on a latitude-longitude grid: what its header says, and how to read a
// slab of it.
//
// Axes: l pressure level, y latitude (ascending), x longitude.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/grid/netcdf_file.h"
#include "io/image.h"
#include "io/unpack.h"

namespace trib::io {

/// What an axis of a variable is.
enum class AxisRole : std::uint8_t {
  time,
  member,   ///< ensemble member ("number")
  version,  ///< "expver": final and preliminary ERA5, each missing where the other has values
  level,
  latitude,
  longitude,
  single,  ///< any other axis of length one
};

/// A variable with a latitude and a longitude axis.
struct GridVariable {
  NetcdfVariable variable;
  std::string name;  ///< short name: "t", "t2m"
  std::string units;
  std::vector<AxisRole> roles;     ///< of each axis, in file order
  std::vector<double> levels_hpa;  ///< in file order; empty for surface variables
  Packing packing;
  std::int64_t chunk_bytes = 0;  ///< of the chunks that one image touches; 0 without chunks

  bool has(AxisRole role) const;
};

/// How the images of a file are told apart.
enum class TimeKind : std::uint8_t {
  none,         ///< no time: one image, the same at all times
  calendar,     ///< a time axis or a scalar time
  climatology,  ///< months, days or hours of an unnamed year
};

/// Header of a file.
struct GridHeader {
  std::string path;
  LatLonGrid grid;  ///< latitudes and longitudes ascending
  bool reversed_latitude = false, reversed_longitude = false;  ///< order in the file
  TimeKind time_kind = TimeKind::none;
  std::vector<double> times;  ///< seconds since 1970; NaN in a climatology; empty without time
  std::int64_t num_members = 1;
  std::int64_t num_versions = 1;
  std::vector<GridVariable> variables;
  std::vector<std::string> left_out;  ///< "name: reason" of variables on the grid not offered
};

/// Read the header: find the axes by name, units and standard_name, decode times and packing.
/// Throws DataError if there is no regular latitude-longitude grid.
GridHeader read_grid_header(const NetcdfFile& file);

/// Uncompressed bytes of one image (a time and member) of a variable.
struct ImageBytes {
  std::int64_t of_values = 0;  ///< the values themselves
  std::int64_t in_chunks = 0;  ///< all of the chunks they lie in; 0 if the file is not chunked
};
ImageBytes image_bytes(const NetcdfFile& file, const GridVariable& variable);

/// A slab of one variable: one time and member, a run of levels, a window.
struct SlabRequest {
  std::int64_t time = 0, member = 0;
  std::int64_t first_level = 0, num_levels = 1;
  Window window;  ///< rows and columns of GridHeader::grid
};

/// The raw numbers of a slab in memory, still in file order.
class GridSlab {
 public:
  /// Read the slab; takes the lock of the HDF5 family for it.
  GridSlab(const NetcdfFile& file, const GridHeader& header, const GridVariable& variable,
           const SlabRequest& request);

  /// Write the physical values of the n-th level of the request, after `affine`, to [y, x].
  void unpack_level(std::int64_t n, const Affine& affine, float* out_yx) const;
  std::int64_t num_bytes() const { return static_cast<std::int64_t>(raw_->size()); }

 private:
  const GridVariable& variable_;
  std::int64_t height_, width_, num_versions_ = 1;
  std::int64_t stride_version_ = 0, stride_level_ = 0, stride_y_ = 1, stride_x_ = 1;
  std::int64_t first_ = 0;  // element of the southernmost row and westernmost column
  std::unique_ptr<Buffer> raw_;
};

}  // namespace trib::io
