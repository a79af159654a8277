// Reading a slab of one variable of a NetCDF file.
//
// Axes: l level, y latitude (ascending), x longitude.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io/grid/grid_file.h"

namespace trib::io {

/// Columns that follow each other in a file, and where they go in an image.
struct ColumnRun {
  std::int64_t x = 0;  ///< first column, counted as GridHeader::grid does
  std::int64_t width = 0;
  std::int64_t to = 0;  ///< column of the image
};

/// The runs that make the columns [x, x + width) of a grid of `num_columns` whose column i is the
/// file's (i + shift) % num_columns: one, or two where they go around the file's edge.
std::vector<ColumnRun> column_runs(std::int64_t x, std::int64_t width, std::int64_t shift,
                                   std::int64_t num_columns);

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
