// Pixels of local GeoTIFFs without GDAL's locks and copies: stored blocks are fetched by any thread
// at any time, decoded by the thread that wants them, shared by all through a cache, and go from
// there to where the caller wants the values.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/chunks/chunk_cache.h"
#include "io/image_source.h"
#include "io/raster/gdal_dataset.h"
#include "io/raster/raster_bands.h"
#include "io/raster/tiff_layout.h"

namespace trib::io {

/// What GDAL says of a local GeoTIFF of a kind that TiffTiles may read.
struct TiffShape {
  Extent image;
  std::int64_t bands = 0;
  DType dtype = DType::u8;
  std::int64_t cached_bytes = 0;  ///< of all its blocks decoded; 0 if none has to be
};

/// None for other drivers, files in archives, directories of files by number (GTIFF_DIR:), and
/// compressions that are left to GDAL.
std::optional<TiffShape> find_tiff_shape(const GdalDataset& dataset);

/// Reads windows of TIFF files. Results are those of GDAL to the bit. All const functions may be
/// called from several threads.
class TiffTiles {
 public:
  struct File {
    std::string path;
    std::optional<TiffShape> shape;  ///< none: not to be read here
  };

  /// Keep at most `cache_bytes` of decoded blocks. Nothing is opened yet.
  TiffTiles(std::vector<File> files, std::int64_t cache_bytes);
  ~TiffTiles();

  enum class Outcome : std::uint8_t {
    done,
    left_to_gdal,  ///< a file that is not read here, or a window with blocks that are not stored
    damaged,       ///< a block cannot be fetched or decoded: GDAL may, or has something to say
  };

  /// Read a window, which lies within the file, of these bands; `names` are their channels, for
  /// messages. Unless all is done, what the target holds is undefined. Throws DataError naming
  /// file, channel and window for a deflated or Zstandard block that is damaged: these carry the
  /// means to tell, and GDAL passes over some of it.
  Outcome read(std::size_t file, const Window& window, std::span<const BandCoding> bands,
               std::span<const std::string> names, const PixelTarget& target) const;

  /// Leave a file to GDAL from now on, which can read what read() cannot.
  void give_up(std::size_t file) const;

  /// Most bytes of decoded blocks that are kept.
  std::int64_t cache_bytes() const { return cache_->capacity(); }
  /// Keep no more than this. To be called before the first read.
  void limit_cache(std::int64_t bytes);
  const ChunkCache& cache() const { return *cache_; }

 private:
  struct Opened;
  struct Slot;
  class WindowRead;

  std::shared_ptr<const Opened> open(std::size_t file) const;

  std::vector<File> files_;
  std::unique_ptr<ChunkCache> cache_;
  mutable std::mutex mutex_;
  mutable std::vector<Slot> slots_;          // of each file
  mutable std::vector<std::size_t> opened_;  // files that are open, used most recently last
};

}  // namespace trib::io
