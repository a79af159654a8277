// Loops over missing values (NaN) that compilers turn into vector instructions. Private to
// ops/image, whose files must not be compiled with -ffinite-math-only.
#pragma once

#include <cstdint>

namespace trib::ops {

/// Whether any of the values is missing.
inline bool any_missing(const float* values, std::int64_t count) {
  std::int32_t missing = 0;
  for (std::int64_t i = 0; i < count; ++i) missing |= values[i] != values[i] ? 1 : 0;
  return missing != 0;
}

/// Values with zero for missing ones, and 1 where there is one or else 0.
inline void split_missing(const float* values, std::int64_t count, float* filled, float* valid) {
  for (std::int64_t i = 0; i < count; ++i) {
    const bool is_valid = values[i] == values[i];
    filled[i] = is_valid ? values[i] : 0.0F;
    valid[i] = is_valid ? 1.0F : 0.0F;
  }
}

}  // namespace trib::ops
