// Many images on one grid as one: a mosaic.
#pragma once

#include <optional>
#include <vector>

#include "io/raster/raster_grid.h"
#include "io/raster/raster_image.h"

namespace trib::io {

/// One image of all, each with its grid; later ones lie on top. It reaches over the grid `fixed`
/// or, without one, as far as they do. Throws DataError if they do not lie on one grid, ConfigError
/// if they have rasters of classes.
RasterImage join_images(std::vector<RasterImage> images, const std::vector<RasterGrid>& grids,
                        const std::optional<RasterGrid>& fixed);

}  // namespace trib::io
