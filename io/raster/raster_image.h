// Images put together from files: one file, the bands of a scene, or a mosaic, on the files' own
// grid or on another.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/image.h"
#include "io/image_source.h"
#include "io/raster/raster_grid.h"
#include "io/raster/raster_pixels.h"
#include "io/raster/raster_source.h"
#include "io/raster/raster_warp.h"
#include "io/raster/tiff_tiles.h"

namespace trib::io {

using Positions = std::vector<std::size_t>;

/// What one file gives to an image.
struct RasterPart {
  std::string path, driver;
  Window area;                                ///< in pixels of the image; may reach beyond it
  std::shared_ptr<const Codings> codings;     ///< of its bands, as stored; shared where they agree
  std::shared_ptr<const Positions> channels;  ///< of the source that these bands are, ascending
  std::shared_ptr<const Warp> warp;           ///< null: its pixels are pixels of the image
  std::optional<TiffShape> tiff;              ///< of files that TiffTiles may read
  std::optional<std::size_t> tiff_number;     ///< number of the file there, if it is to
};

struct RasterImage {
  Extent extent;
  std::shared_ptr<const GeoReference> geo;  ///< null if it has no place
  std::int32_t label = -1;
  bool overlaps = false;  ///< parts may give the same pixels; later ones lie on top
  std::vector<RasterPart> parts;
  std::shared_ptr<RasterPart> classes;  ///< raster of labels, on the image's grid; null: none
  const std::string& path() const { return parts.front().path; }
};

struct RasterImages {
  std::vector<Channel> channels;
  std::vector<RasterImage> images;
};

/// Open the headers of all files and say how they make images. Throws as open_raster().
RasterImages assemble_images(const RasterOptions& options);

/// Open a part for read_part().
std::unique_ptr<GdalDataset> open_part(const RasterPart& part);

/// Read a window of a part, in pixels of its area, of all its channels. `names` are those of the
/// part's channels. Returns the bytes decoded.
std::int64_t read_part(const GdalDataset& dataset, const RasterPart& part,
                       std::span<const std::string> names, const Window& window,
                       const PixelTarget& target);

}  // namespace trib::io
