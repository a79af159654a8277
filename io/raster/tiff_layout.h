// Where the samples of a TIFF lie and how they are stored.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "io/image_source.h"
#include "ops/base/dtype.h"

namespace trib::io {

class StoredFile;

/// The first image of a TIFF or BigTIFF, cut into blocks (tiles, or strips as wide as the image).
/// Blocks are numbered by row, then column; if `planar`, those of the second band follow all of the
/// first.
struct TiffLayout {
  enum class Compression : std::uint8_t { none, lzw, deflate, zstd };
  enum class Predictor : std::uint8_t { none, horizontal, floating_point };

  Extent image;
  Extent block;
  std::int64_t bands = 1;
  DType dtype = DType::u8;
  bool planar = false;  ///< each band has blocks of its own
  bool tiled = false;   ///< blocks at the border are whole; strips end with the image
  bool big_endian = false;
  Compression compression = Compression::none;
  Predictor predictor = Predictor::none;
  std::vector<std::uint64_t> offsets;  ///< [block], in bytes from the start of the file
  std::vector<std::uint64_t> sizes;    ///< [block], as stored; 0: the block is not there

  std::int64_t blocks_across() const { return (image.width + block.width - 1) / block.width; }
  std::int64_t blocks_down() const { return (image.height + block.height - 1) / block.height; }
  std::int64_t block_number(std::int64_t band, std::int64_t row, std::int64_t column) const {
    return ((planar ? band : 0) * blocks_down() + row) * blocks_across() + column;
  }
  /// Samples of a pixel that lie in one block, side by side.
  std::int64_t samples() const { return planar ? 1 : bands; }
  /// Rows of the blocks of one row of blocks, as stored.
  std::int64_t rows_of(std::int64_t block_row) const;
  std::int64_t row_bytes() const {
    return block.width * samples() * static_cast<std::int64_t>(size_of(dtype));
  }
};

/// Read the layout of an open file. Nothing in it is trusted: counts and places are checked against
/// each other and the size of the file. None if the file is no TIFF, is damaged, or stores samples
/// in a way that only GDAL is to read: other compressions, odd numbers of bits, bands of several
/// types, complex or half-precision samples, subsampled colours, reversed bits, blocks larger than
/// 64 MB.
std::optional<TiffLayout> read_tiff_layout(const StoredFile& file);

}  // namespace trib::io
