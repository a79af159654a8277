// Axes: c channel, y row, x column.
#include "io/raster/tiff_tiles.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <gdal_priv.h>

#include "io/chunks/stored_file.h"
#include "io/raster/raster_pixels.h"
#include "io/raster/sample_decoding.h"
#include "io/raster/tiff_block.h"
#include "io/raster/tiff_predictor.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::size_t kOpenFiles = 64;
// Of plainly stored blocks the rows wanted are fetched in one piece, unless much else lies between.
constexpr std::int64_t kFetchedPerWanted = 4;
constexpr std::int64_t kSmallFetch = std::int64_t{64} << 10;

std::optional<DType> dtype_of(GDALRasterBand& band) {
  switch (band.GetRasterDataType()) {
    case GDT_Byte:
      return has_signed_bytes(band) ? DType::i8 : DType::u8;
    case GDT_UInt16:
      return DType::u16;
    case GDT_Int16:
      return DType::i16;
    case GDT_UInt32:
      return DType::u32;
    case GDT_Int32:
      return DType::i32;
    case GDT_UInt64:
      return DType::u64;
    case GDT_Int64:
      return DType::i64;
    case GDT_Float32:
      return DType::f32;
    case GDT_Float64:
      return DType::f64;
    default:
      return {};
  }
}

/// A thread's memory for stored bytes, as large as the largest so far.
std::span<std::byte> scratch(std::size_t bytes) {
  thread_local std::unique_ptr<std::byte[]> memory;
  thread_local std::size_t size = 0;
  if (size < bytes) {
    memory = std::make_unique_for_overwrite<std::byte[]>(bytes);
    size = bytes;
  }
  return {memory.get(), bytes};
}

/// What a block that says itself that it is damaged is worth: an error, whatever GDAL makes of it.
class DamagedBlock : public DataError {
 public:
  DamagedBlock(std::size_t channel, const std::string& reason)
      : DataError(reason), channel_(channel) {}
  std::size_t channel() const { return channel_; }

 private:
  std::size_t channel_;
};

std::int64_t cached_bytes(const std::vector<TiffTiles::File>& files) {
  return std::accumulate(files.begin(), files.end(), std::int64_t{0},
                         [](std::int64_t sum, const TiffTiles::File& file) {
                           return sum + (file.shape ? file.shape->cached_bytes : 0);
                         });
}

}  // namespace

std::optional<TiffShape> find_tiff_shape(const GdalDataset& dataset) {
  if (dataset.driver() != "GTiff" || dataset.path().starts_with("/vsi") ||
      dataset.path().starts_with("GTIFF_")) {
    return {};
  }
  GDALDataset& gdal = dataset.gdal();
  const GdalErrors quiet;
  const char* item = gdal.GetMetadataItem("COMPRESSION", "IMAGE_STRUCTURE");
  const std::string_view compression = item != nullptr ? item : "";
  constexpr std::array<std::string_view, 4> kCompressions = {"", "DEFLATE", "LZW", "ZSTD"};
  if (std::ranges::find(kCompressions, compression) == kCompressions.end()) return {};
  if (gdal.GetRasterCount() == 0) return {};
  GDALRasterBand& band = *gdal.GetRasterBand(1);
  const auto dtype = dtype_of(band);
  if (!dtype) return {};
  TiffShape shape;
  shape.image = {gdal.GetRasterYSize(), gdal.GetRasterXSize()};
  shape.bands = gdal.GetRasterCount();
  shape.dtype = *dtype;
  if (!compression.empty()) {
    int block_x = 1, block_y = 1;
    band.GetBlockSize(&block_x, &block_y);
    const auto padded = [](std::int64_t length, std::int64_t block) {
      return (length + block - 1) / block * block;
    };
    shape.cached_bytes = padded(shape.image.height, block_y) * padded(shape.image.width, block_x) *
                         shape.bands * static_cast<std::int64_t>(size_of(*dtype));
  }
  return shape;
}

/// A file with its layout.
struct TiffTiles::Opened {
  explicit Opened(const std::string& path) : file(path) {}
  StoredFile file;
  TiffLayout layout;
};

struct TiffTiles::Slot {
  std::shared_ptr<const Opened> opened;
  bool left_to_gdal = false;
};

TiffTiles::TiffTiles(std::vector<File> files, std::int64_t cache_bytes)
    : files_(std::move(files)),
      cache_(std::make_unique<ChunkCache>(std::min(cache_bytes, cached_bytes(files_)))),
      slots_(files_.size()) {}

TiffTiles::~TiffTiles() = default;

void TiffTiles::limit_cache(std::int64_t bytes) {
  if (bytes < cache_bytes()) cache_ = std::make_unique<ChunkCache>(bytes);
}

/// The open file, null if it is left to GDAL.
std::shared_ptr<const TiffTiles::Opened> TiffTiles::open(std::size_t file) const {
  {
    const std::lock_guard lock(mutex_);
    Slot& slot = slots_[file];
    if (slot.left_to_gdal) return nullptr;
    if (slot.opened) {
      if (opened_.back() != file) {
        const auto found = std::find(opened_.begin(), opened_.end(), file);
        std::rotate(found, found + 1, opened_.end());
      }
      return slot.opened;
    }
  }
  // Two threads may both open it; that does no harm, and nobody waits for slow storage.
  std::shared_ptr<Opened> opened;
  bool agrees = false;
  try {
    opened = std::make_shared<Opened>(files_[file].path);
    if (auto layout = read_tiff_layout(opened->file)) {
      const TiffShape& shape = *files_[file].shape;
      agrees = layout->image == shape.image && layout->bands == shape.bands &&
               layout->dtype == shape.dtype;
      opened->layout = std::move(*layout);
    }
  } catch (const DataError&) {
    // GDAL will say what is wrong with it.
  }
  std::shared_ptr<const Opened> closed;  // after the lock
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_[file];
  if (!agrees) {
    slot.left_to_gdal = true;
    return nullptr;
  }
  if (!slot.opened) {
    slot.opened = opened;
    opened_.push_back(file);
    if (opened_.size() > kOpenFiles) {
      closed = std::exchange(slots_[opened_.front()].opened, nullptr);
      opened_.erase(opened_.begin());
    }
  }
  return opened;
}

void TiffTiles::give_up(std::size_t file) const {
  const std::lock_guard lock(mutex_);
  slots_[file].left_to_gdal = true;
}

/// One window of one file on its way.
class TiffTiles::WindowRead {
 public:
  WindowRead(const Opened& opened, ChunkCache& cache, std::uint32_t file, const Window& window,
             const PixelTarget& target)
      : opened_(opened),
        layout_(opened.layout),
        cache_(cache),
        file_(file),
        window_(window),
        target_(target) {}

  /// False if a block is not stored.
  bool read(std::span<const BandCoding> bands) {
    for (std::size_t c = 0; c < bands.size(); ++c) {
      bands_.push_back(bands[c].number - 1);
      decodings_.emplace_back(bands[c], target_.affine.empty() ? Affine{} : target_.affine[c]);
    }
    const Extent& block = layout_.block;
    for (std::int64_t row = window_.y / block.height; row * block.height < end_y(); ++row) {
      for (std::int64_t column = window_.x / block.width; column * block.width < end_x();
           ++column) {
        const std::span<const SampleDecoding> all(decodings_);
        if (!layout_.planar) {
          if (!read_block(0, row, column, 0, all)) return false;
          continue;
        }
        for (std::size_t c = 0; c < all.size(); ++c) {
          if (!read_block(bands_[c], row, column, c, all.subspan(c, 1))) return false;
        }
      }
    }
    return true;
  }

 private:
  /// The part of a block that lies in the window, in pixels of the block.
  struct Part {
    std::int64_t y, x, height, width;
    std::int64_t target_y, target_x;  // of its first pixel in the window
  };

  std::int64_t end_y() const { return window_.y + window_.height; }
  std::int64_t end_x() const { return window_.x + window_.width; }

  Part part_of(std::int64_t row, std::int64_t column) const {
    const std::int64_t top = row * layout_.block.height, left = column * layout_.block.width;
    const std::int64_t y0 = std::max(top, window_.y), x0 = std::max(left, window_.x);
    const std::int64_t y1 = std::min(top + layout_.block.height, end_y());
    const std::int64_t x1 = std::min(left + layout_.block.width, end_x());
    return {y0 - top, x0 - left, y1 - y0, x1 - x0, y0 - window_.y, x0 - window_.x};
  }

  std::int64_t pixel_bytes() const {
    return layout_.samples() * static_cast<std::int64_t>(size_of(layout_.dtype));
  }

  /// Read the channels from `first` on, which lie in this block, as many as there are decodings.
  bool read_block(std::int64_t band, std::int64_t row, std::int64_t column, std::size_t first,
                  std::span<const SampleDecoding> decodings) {
    const auto number = static_cast<std::size_t>(layout_.block_number(band, row, column));
    if (layout_.sizes[number] == 0) return false;
    const std::int64_t block_bytes = layout_.rows_of(row) * layout_.row_bytes();
    const Part part = part_of(row, column);
    if (layout_.compression == TiffLayout::Compression::none) {
      read_plain(number, block_bytes, part, first, decodings);
      return true;
    }
    const Chunk chunk =
        cache_.get({file_, 0, number}, [&] { return decode_block(number, row, column, first); });
    decode(chunk->data() + part.y * layout_.row_bytes() + part.x * pixel_bytes(),
           layout_.row_bytes(), part, first, decodings);
    return true;
  }

  /// The rows of a compressed block; `channel` is one of those in it.
  Chunk decode_block(std::size_t number, std::int64_t row, std::int64_t column,
                     std::size_t channel) const {
    const std::int64_t rows = layout_.rows_of(row);
    // What is compressed is hardly ever larger than what it is made of.
    const std::uint64_t stored = layout_.sizes[number];
    const std::int64_t most = layout_.block.height * layout_.row_bytes();
    if (stored > 2 * static_cast<std::uint64_t>(most) + kSmallFetch) {
      throw DataError("a block is larger compressed than it should be");
    }
    const std::span<std::byte> bytes = scratch(stored);
    fetch(layout_.offsets[number], bytes);
    const auto decoded = [&](std::int64_t count) {
      auto buffer = std::make_shared<Buffer>(static_cast<std::size_t>(count * layout_.row_bytes()),
                                             MemoryKind::ingest);
      decode_tiff_block(layout_, bytes, {buffer->data(), buffer->size()});
      return buffer;
    };
    try {
      // There are files whose last strip goes on below the image.
      if (rows == layout_.block.height) return decoded(rows);
      try {
        return decoded(rows);
      } catch (const DataError&) {
        return decoded(layout_.block.height);
      }
    } catch (const DataError& error) {
      if (layout_.compression == TiffLayout::Compression::lzw) throw;
      throw DamagedBlock(channel,
                         fmt::format("block {}, {} is damaged: {}", row, column, error.what()));
    }
  }

  void read_plain(std::size_t number, std::int64_t block_bytes, const Part& part, std::size_t first,
                  std::span<const SampleDecoding> decodings) {
    constexpr std::uint64_t kEnd = std::numeric_limits<std::int64_t>::max();  // of any file
    if (layout_.sizes[number] < static_cast<std::uint64_t>(block_bytes) ||
        layout_.offsets[number] > kEnd) {
      throw DataError("a block is not stored whole");
    }
    const std::int64_t stride = layout_.row_bytes();
    const std::int64_t wanted = part.width * pixel_bytes();
    const std::int64_t whole = (part.height - 1) * stride + wanted;
    const std::uint64_t place =
        layout_.offsets[number] +
        static_cast<std::uint64_t>(part.y * stride + part.x * pixel_bytes());
    if (whole <= kSmallFetch || whole <= kFetchedPerWanted * wanted * part.height) {
      decode_plain(place, whole, stride, part, first, decodings);
      return;
    }
    Part line = part;
    line.height = 1;
    for (std::int64_t y = 0; y < part.height; ++y, ++line.target_y) {
      decode_plain(place + static_cast<std::uint64_t>(y * stride), wanted, stride, line, first,
                   decodings);
    }
  }

  void decode_plain(std::uint64_t place, std::int64_t count, std::int64_t stride, const Part& part,
                    std::size_t first, std::span<const SampleDecoding> decodings) {
    const std::span<std::byte> bytes = scratch(static_cast<std::size_t>(count));
    fetch(place, bytes);
    // Rows follow each other in whole samples, so what lies between them may be swapped as well.
    if (layout_.big_endian) swap_bytes(bytes, size_of(layout_.dtype));
    decode(bytes.data(), stride, part, first, decodings);
  }

  void fetch(std::uint64_t place, std::span<std::byte> bytes) const {
    if (!opened_.file.holds(place, bytes.size())) {
      throw DataError("a block does not lie in the file");
    }
    opened_.file.read(place, bytes);
  }

  /// Put the values of a part to their place; its first pixel is at `from`.
  void decode(const std::byte* from, std::int64_t stride_bytes, const Part& part, std::size_t first,
              std::span<const SampleDecoding> decodings) const {
    const std::int64_t plane = window_.height * window_.width;
    const auto sample_bytes = static_cast<std::int64_t>(size_of(layout_.dtype));
    for (std::int64_t y = 0; y < part.height; ++y) {
      const std::byte* row = from + y * stride_bytes;
      float* out = target_.data_cyx + static_cast<std::int64_t>(first) * plane +
                   (part.target_y + y) * window_.width + part.target_x;
      for (std::size_t c = 0; c < decodings.size(); ++c, out += plane) {
        const std::int64_t sample = layout_.planar ? 0 : bands_[first + c];
        decode_samples(decodings[c], layout_.dtype, row + sample * sample_bytes, layout_.samples(),
                       part.width, out);
      }
    }
  }

  const Opened& opened_;
  const TiffLayout& layout_;
  ChunkCache& cache_;
  std::uint32_t file_;
  Window window_;
  PixelTarget target_;
  std::vector<std::int64_t> bands_;  // of each channel, from 0
  std::vector<SampleDecoding> decodings_;
};

TiffTiles::Outcome TiffTiles::read(std::size_t file, const Window& window,
                                   std::span<const BandCoding> bands,
                                   std::span<const std::string> names,
                                   const PixelTarget& target) const {
  if (!files_[file].shape) return Outcome::left_to_gdal;
  const std::shared_ptr<const Opened> opened = open(file);
  if (!opened) return Outcome::left_to_gdal;
  try {
    WindowRead read(*opened, *cache_, static_cast<std::uint32_t>(file), window, target);
    return read.read(bands) ? Outcome::done : Outcome::left_to_gdal;
  } catch (const DamagedBlock& damage) {
    throw DataError(fmt::format("{}: channel '{}' cannot be read in {}: {}", files_[file].path,
                                names[damage.channel()], to_string(window), damage.what()));
  } catch (const DataError&) {
    return Outcome::damaged;
  }
}

}  // namespace trib::io
