// The start of .npy files, version 1.0 (NEP 1): numpy.load and numpy.memmap open them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace trib::io {

/// Bytes before the data. Always as many, so that a header can be written again for another number
/// of samples, and the data are aligned to cache lines.
inline constexpr std::int64_t kNpyHeaderBytes = 128;

/// The same in a zstd frame that stores them as they are.
inline constexpr std::int64_t kNpyFrameBytes = 9 + kNpyHeaderBytes;

/// Header of a C-contiguous array; `descr` is NumPy's name of the element type, such as "<f4".
std::string npy_header(std::string_view descr, std::span<const std::int64_t> shape);

}  // namespace trib::io
