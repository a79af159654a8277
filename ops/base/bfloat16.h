// bfloat16: the upper half of a float32, as a storage type.
#pragma once

#include <bit>
#include <cstdint>

namespace trib {

/// 8 bits of exponent, 7 of mantissa. Arithmetic is done in float32; conversions from it round to
/// nearest, ties to even, keep infinities, and keep not-a-number one. Free of branches, so that
/// loops over them vectorise.
struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  explicit BFloat16(float value) {
    const auto from = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = from + 0x7FFFU + ((from >> 16) & 1U);
    // Rounding could carry a not-a-number into infinity or beyond the sign.
    bits = static_cast<std::uint16_t>((value == value ? rounded : from | 0x400000U) >> 16);
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};
static_assert(sizeof(BFloat16) == 2);

}  // namespace trib
