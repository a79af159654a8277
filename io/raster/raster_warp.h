// Files as they look on another grid.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/raster/gdal_dataset.h"
#include "io/raster/raster_grid.h"
#include "io/raster/raster_pixels.h"

namespace trib::io {

/// How a file is brought onto a grid.
struct Warp {
  RasterGrid grid;
  /// The grid's transform leads to pixels of the file instead of coordinates: for files without a
  /// place, and for decimation, which is the same for all files.
  bool in_pixels = false;
  std::string resampling;       ///< see resampling_methods()
  std::optional<int> overview;  ///< of the file, to read instead of its pixels
};

/// "nearest", "bilinear", "cubic", "lanczos", "average", "mode", "min", "max", "med".
std::vector<std::string> resampling_methods();

/// The bands of these codings on the warp's grid, in their order, as floats that are NaN where the
/// file has nothing: valid pixels count in a resampled one as far as there are any. Reads of the
/// result read the file's pixels around. Throws DataError if the file cannot be opened or placed.
std::unique_ptr<GdalDataset> open_warped(const std::string& path, const std::string& driver,
                                         const Warp& warp, const Codings& codings);

/// Codings of what open_warped() makes.
Codings warped_codings(Codings codings);

/// How many stored pixels one of each overview covers along a row.
std::vector<double> overview_factors(const GdalDataset& dataset);

/// The overview to read where a pixel that is wanted covers `ratio` stored ones along each side:
/// the coarsest that is not coarser. None: the pixels themselves.
std::optional<int> choose_overview(const std::vector<double>& factors, double ratio);

}  // namespace trib::io
