// From the stored bytes of a TIFF's block to samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/raster/tiff_layout.h"

namespace trib::io {

/// Decode a block into rows of layout.row_bytes(), as many as `out` holds, with the bytes of
/// samples in the order of this machine. The checksum of deflated blocks is verified.
/// Throws DataError saying what is wrong with the bytes; callers add file and place.
void decode_tiff_block(const TiffLayout& layout, std::span<const std::byte> stored,
                       std::span<std::byte> out);

}  // namespace trib::io
