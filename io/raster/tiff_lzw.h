// TIFF's variant of LZW compression.
#pragma once

#include <cstddef>
#include <span>

namespace trib::io {

/// Expand a block whose beginning are out.size() bytes; what follows is not looked at, as libtiff
/// does. Codes have their highest bit first and grow one code early (TIFF 6.0, section 13); the
/// older order of bits is not known here. Throws DataError saying what is wrong with the bytes.
void expand_lzw(std::span<const std::byte> stored, std::span<std::byte> out);

}  // namespace trib::io
