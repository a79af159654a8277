// Sixteen numbers transposed by quarters, whatever the width of the registers. Private to
// ops/kernels.
//
// Rows of patches are short: four numbers of a row fill a quarter, and four rows a register.
#pragma once

#include <cstdint>

#include "ops/kernels/vector/float_vector.h"

namespace trib::ops::simd {

using Float4 = float __attribute__((vector_size(16)));
using Float8 = float __attribute__((vector_size(32)));
using Float16 = float __attribute__((vector_size(64)));

/// Transpose four by four, in each quarter by itself: a[i][4 q + j] and a[j][4 q + i] change
/// places.
inline void transpose_quarters(Float16& a0, Float16& a1, Float16& a2, Float16& a3) {
  const auto low = [](const Float16& x, const Float16& y) {
    return __builtin_shufflevector(x, y, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  };
  const auto high = [](const Float16& x, const Float16& y) {
    return __builtin_shufflevector(x, y, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15,
                                   31);
  };
  const auto first = [](const Float16& x, const Float16& y) {
    return __builtin_shufflevector(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  };
  const auto second = [](const Float16& x, const Float16& y) {
    return __builtin_shufflevector(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30,
                                   31);
  };
  const Float16 b0 = low(a0, a1), b1 = low(a2, a3), b2 = high(a0, a1), b3 = high(a2, a3);
  a0 = first(b0, b1);
  a1 = second(b0, b1);
  a2 = first(b2, b3);
  a3 = second(b2, b3);
}

/// Sixteen floats from four places, a quarter each.
inline Float16 gather_quarters(const float* a, const float* b, const float* c, const float* d) {
  const Float8 ab =
      __builtin_shufflevector(load<Float4>(a), load<Float4>(b), 0, 1, 2, 3, 4, 5, 6, 7);
  const Float8 cd =
      __builtin_shufflevector(load<Float4>(c), load<Float4>(d), 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/// to[j][i] = from[i][j] for 16 rows of `from` and `columns` columns, a multiple of 4; rows of
/// each are a stride apart. finish(vector) gives what is stored of it.
template <class Finish>
inline void transpose_rows(float* to, std::int64_t to_stride, const float* from,
                           std::int64_t from_stride, std::int64_t columns, const Finish& finish) {
  for (std::int64_t j = 0; j < columns; j += 4) {
    Float16 a[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      const float* row = from + i * from_stride + j;
      a[i] = gather_quarters(row, row + 4 * from_stride, row + 8 * from_stride,
                             row + 12 * from_stride);
    }
    transpose_quarters(a[0], a[1], a[2], a[3]);
    for (std::int64_t i = 0; i < 4; ++i) {
      store(to + (j + i) * to_stride, finish(a[i]));
    }
  }
}

}  // namespace trib::ops::simd
