// Where the pixels of an image lie on the ground.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "io/image_source.h"
#include "io/raster/gdal_dataset.h"

namespace trib::io {

/// Pixels and their places. Without a reference system coordinates mean nothing to others; a
/// transform of (0, 1, 0, 0, 0, 1) and no system is a file without a place.
struct RasterGrid {
  Extent extent;
  GeoReference geo;
};

/// The grid images are to be brought onto. A lattice of pixels that reaches everywhere, of which
/// each image takes the part it lies in, or one grid for all images.
struct GridWish {
  std::string crs_wkt;                           ///< empty: that of each file
  std::optional<std::array<double, 2>> spacing;  ///< width and height of a pixel; none: the file's
  std::array<double, 2> origin{0, 0};            ///< a corner of pixels of the lattice
  std::optional<RasterGrid> fixed;               ///< the one grid
};

/// What a file is in coordinates of the wish: its extent [left, bottom, right, top] and the size of
/// its pixels. Control points and rotations are honoured. Throws DataError naming the file if it
/// has no place in the world or none in that system.
struct Placement {
  std::array<double, 4> bounds;
  std::array<double, 2> spacing;
};
Placement place(const GdalDataset& dataset, const std::string& crs_wkt);

/// The part of the wish's lattice, or of its fixed grid, that a placement covers, widened to whole
/// pixels.
RasterGrid cover(const Placement& placement, const GridWish& wish, const std::string& crs_wkt);

/// Grid as stored, its reference system as WKT.
RasterGrid stored_grid(const GdalDataset& dataset);

/// Whether the pixels of two grids are the same ones, to a hundredth of a pixel.
bool same_pixels(const RasterGrid& a, const RasterGrid& b);

/// Place of `part` in `whole` if its pixels are pixels of that grid, or of its continuation.
std::optional<Window> aligned(const RasterGrid& part, const RasterGrid& whole);

/// Whether two WKT texts, neither or one perhaps empty, mean the same system.
bool same_system(const std::string& a, const std::string& b);

}  // namespace trib::io
