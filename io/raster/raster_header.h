// What is known of a raster from its header, and how it comes onto the grid that is wanted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/raster/raster_bands.h"
#include "io/raster/raster_grid.h"
#include "io/raster/raster_warp.h"
#include "io/raster/tiff_tiles.h"

namespace trib::io {

struct RasterHeader {
  std::string path, driver;
  RasterGrid grid;
  bool has_place = false;   ///< a geotransform
  bool has_points = false;  ///< ground control points in its place
  std::vector<RasterBand> bands;
  std::vector<double> overviews;       ///< factors; only if there is a wish or it may be decimated
  std::optional<Placement> placement;  ///< where the wish puts it
  std::optional<TiffShape> tiff;
};

/// Open a file and read its header. `driver` is tried first. Throws DataError.
RasterHeader read_raster_header(const std::string& path, const std::string& driver,
                                const std::optional<GridWish>& wish, bool may_be_decimated);

/// The one band that is data of a file that is one band of a scene. Throws DataError if it has
/// none, or several.
const RasterBand& only_band(const RasterHeader& header);

/// How a file comes onto a grid, of which `reference` is the first file: by the wish or, without
/// one, by the pixels of the two files. Null if it lies on the grid already.
std::shared_ptr<const Warp> warp_onto(const RasterGrid& grid, const RasterHeader& header,
                                      const RasterHeader& reference,
                                      const std::optional<GridWish>& wish, std::int64_t decimate,
                                      const std::string& resampling);

}  // namespace trib::io
