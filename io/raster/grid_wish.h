// The grid that images are to be brought onto, from what was asked for.
#pragma once

#include <optional>
#include <string>

#include "io/raster/raster_grid.h"
#include "io/raster/raster_source.h"

namespace trib::io {

/// What crs, resolution, bounds and align_to ask for, none if images keep their own pixels. What
/// they leave open is that of the file `first`. Throws ConfigError, DataError if a file is needed
/// and cannot be read.
std::optional<GridWish> make_wish(const RasterOptions& options, const std::string& first);

/// The wish without its one grid, for the parts of a mosaic. Throws ConfigError if the one grid is
/// turned.
GridWish lattice_of(GridWish wish);

}  // namespace trib::io
