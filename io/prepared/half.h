// Between float and IEEE 754 half precision.
#pragma once

#include <cstdint>
#include <cstring>

namespace trib::io {

/// Largest finite half; larger values round to infinity.
inline constexpr float kLargestHalf = 65504.0F;

/// Nearest half, ties to even. NaN stays NaN. (GCC turns loops of this into vector instructions.)
inline std::uint16_t half_of(float value) {
  const auto half = static_cast<_Float16>(value);
  std::uint16_t bits = 0;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

inline float float_of(std::uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, sizeof half);
  return static_cast<float>(half);
}

}  // namespace trib::io
