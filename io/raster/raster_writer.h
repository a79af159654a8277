// Images as georeferenced raster files: GeoTIFF or cloud-optimised GeoTIFF.
//
// Axes: c channel, y row, x column.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/image.h"
#include "io/image_source.h"
#include "ops/base/dtype.h"

namespace trib::io {

/// How rasters are stored.
struct RasterStorage {
  enum class Format : std::uint8_t {
    gtiff,  ///< tiles of 256 x 256
    cog,    ///< tiles of 512 x 512 with overviews of averages, readable in parts over a network
  };
  enum class Compression : std::uint8_t { none, deflate, zstd };

  Format format = Format::gtiff;
  Compression compression = Compression::deflate;
  bool predictor = true;  ///< store differences of neighbours, which compress better
  /// f32, or i16 and u16 for value = stored * scale + offset, rounded; what lies beyond the type's
  /// range becomes the nearest value in it.
  DType dtype = DType::f32;
  double scale = 1, offset = 0;
  /// Stored value of missing pixels (NaN). If none is given: NaN, -32768 or 65535.
  std::optional<double> nodata;

  double missing() const;
  /// Throws ConfigError if nodata is no number of the type, or the scale is 0 or not finite.
  void check() const;
};

/// Place of the pixels of `window`, which lies in a raster with this place, if it is stored as
/// `stored` pixels: coarser or finer if the extents differ.
GeoReference georeference_of(const GeoReference& raster, const Window& window,
                             const Extent& stored);

/// Write an image under `path`: bands named, with units and wavelengths, at its place if it has
/// one. The file appears whole or not at all; folders are made. Throws RuntimeError naming the file
/// and GDAL's or the system's reason.
void write_raster(const std::string& path, const RasterStorage& storage,
                  const std::vector<Channel>& channels, const Extent& extent, const float* data_cyx,
                  const GeoReference* geo);

/// Windows put together in one raster, which becomes as large as the smallest rectangle around them
/// all. Until then they wait in a file beside it, in the order they came; where they overlap the
/// last one counts. Pixels in no window are missing.
class RasterMosaic {
 public:
  /// `geo` is the place of the raster that the windows are of; may be null.
  RasterMosaic(const std::string& path, const RasterStorage& storage, std::vector<Channel> channels,
               std::shared_ptr<const GeoReference> geo);
  ~RasterMosaic();
  RasterMosaic(const RasterMosaic&) = delete;
  RasterMosaic& operator=(const RasterMosaic&) = delete;

  /// Add a window of the raster with its pixels [c, window height, window width].
  /// Throws RuntimeError naming the file and the system's reason.
  void add(const Window& window, const float* data_cyx);
  /// Write the raster, as write_raster() does. Without any window there is none.
  void finish();

 private:
  struct Spool;
  std::string path_;
  RasterStorage storage_;
  std::vector<Channel> channels_;
  std::shared_ptr<const GeoReference> geo_;
  std::unique_ptr<Spool> spool_;
  std::vector<Window> windows_;
};

}  // namespace trib::io
