#include "io/raster/tiff_block.h"

#include <cstring>

#include <fmt/format.h>

#include "io/chunks/chunk_codec.h"
#include "io/raster/tiff_lzw.h"
#include "io/raster/tiff_predictor.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

void expand(TiffLayout::Compression compression, std::span<const std::byte> stored,
            std::span<std::byte> out) {
  switch (compression) {
    case TiffLayout::Compression::none:
      if (stored.size() < out.size()) {
        throw DataError(fmt::format("{} of {} bytes are there", stored.size(), out.size()));
      }
      std::memcpy(out.data(), stored.data(), out.size());
      return;
    case TiffLayout::Compression::lzw:
      return expand_lzw(stored, out);
    case TiffLayout::Compression::deflate:
      return inflate_zlib(stored, out);
    case TiffLayout::Compression::zstd:
      return expand_zstd(stored, out);
  }
}

}  // namespace

void decode_tiff_block(const TiffLayout& layout, std::span<const std::byte> stored,
                       std::span<std::byte> out) {
  expand(layout.compression, stored, out);
  const std::size_t bytes = size_of(layout.dtype);
  if (layout.predictor == TiffLayout::Predictor::floating_point) {
    return undo_floating_point(out, layout.row_bytes(), layout.samples(), bytes);
  }
  if (layout.big_endian) swap_bytes(out, bytes);
  if (layout.predictor == TiffLayout::Predictor::horizontal) {
    undo_horizontal(out, layout.row_bytes(), layout.samples(), bytes);
  }
}

}  // namespace trib::io
