// Operands of a product, laid out for the register tiles of gemm_avx512: `width` rows of op(a), or
// columns of op(b), side by side for each step along k. A lane, 4 bytes, is what a step takes from
// a row or column: one float32 or two bfloat16. Private to gemm_avx512.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

// False alarms of GCC 12 on vectors that may hold anything (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "ops/base/bfloat16.h"

// Functions for processors that have these; whoever calls them has made sure.
#define TRIB_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,avx2,bmi2")))

namespace trib::ops::detail {

using Lane = std::uint32_t;
template <class T>
inline constexpr std::int64_t kPerLane = 4 / static_cast<std::int64_t>(sizeof(T));

inline __mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>((1U << std::clamp<std::int64_t>(count, 0, 16)) - 1U);
}

// Which columns go to which panel.
struct Panels {
  static constexpr std::int64_t kMax = 16;
  std::int64_t count = 0;
  std::array<std::int64_t, kMax> first{};
  std::array<std::uint32_t, kMax> mask{};  // of the columns there are

  void add(std::int64_t first_column, std::int64_t columns) {
    const auto i = static_cast<std::size_t>(count++);
    first[i] = first_column;
    mask[i] = static_cast<std::uint32_t>((std::uint64_t{1} << columns) - 1U);
  }
};

TRIB_TARGET_AVX512 inline __attribute__((always_inline)) void transpose_16x16(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  // The 128-bit part p of r[4 q + i] holds column 4 p + i of rows 4 q to 4 q + 3.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xDD);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xDD);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xDD);
    r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xDD);
  }
}

/// to[step * width + row] of up to 16 rows that lie `ld` elements apart, each `depth` elements
/// along k. Always writes 16 lanes a step, zero beyond `rows`: with a smaller width the next step
/// overwrites them. The second half of a last lane is zero if depth is odd.
template <class T>
TRIB_TARGET_AVX512 void pack_rows(Lane* to, std::int64_t width, const T* from, std::int64_t ld,
                                  std::int64_t rows, std::int64_t depth) {
  for (std::int64_t k = 0; k < depth; k += 16 * kPerLane<T>) {
    const std::int64_t left = std::min(depth - k, 16 * kPerLane<T>);
    const auto halves =
        static_cast<__mmask32>((std::uint64_t{1} << (left * 2 / kPerLane<T>)) - 1U);  // of 2 bytes
    __m512i r[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      r[i] =
          i < rows ? _mm512_maskz_loadu_epi16(halves, from + i * ld + k) : _mm512_setzero_si512();
    }
    transpose_16x16(r);
    const std::int64_t steps = (left + kPerLane<T> - 1) / kPerLane<T>;
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if (i < steps) _mm512_storeu_si512(to + i * width, r[i]);
    }
    to += 16 * width;
  }
}

/// Panels of up to 16 * V columns each, `depth` rows along k: panel i takes the columns of its
/// mask, from column first[i], to to[i * panel_lanes + step * width + column]. All panels of a row
/// before the next row, because memory is fast in the order it lies. Always writes 16 * V lanes a
/// step, zero beyond the columns; the second half of a last lane is zero if depth is odd. Unless
/// null, column_sums[first[i] + column] += the sum of each column.
template <class T, int V>
TRIB_TARGET_AVX512 void pack_columns(Lane* to, std::int64_t panel_lanes, std::int64_t width,
                                     const T* from, std::int64_t ld, const Panels& panels,
                                     std::int64_t depth, float* column_sums = nullptr) {
  alignas(64) float sums[Panels::kMax * 16 * V] = {};
  for (std::int64_t k = 0; k < depth; k += kPerLane<T>) {
    [[maybe_unused]] const bool has_second = k + 1 < depth;
    for (std::int64_t i = 0; i < panels.count; ++i) {
      const T* const at = from + panels.first[static_cast<std::size_t>(i)];
      Lane* const lanes = to + i * panel_lanes;
#pragma GCC unroll 2
      for (int j = 0; j < V; ++j) {
        const auto mask =
            static_cast<__mmask16>(panels.mask[static_cast<std::size_t>(i)] >> (16 * j));
        float* const sum = sums + (i * V + j) * 16;
        if constexpr (std::is_same_v<T, float>) {
          const __m512 values = _mm512_maskz_loadu_ps(mask, at + 16 * j);
          _mm512_storeu_ps(lanes + 16 * j, values);
          if (column_sums != nullptr)
            _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), values));
        } else {
          const __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, at + 16 * j));
          const __m512i odd = _mm512_cvtepu16_epi32(
              _mm256_maskz_loadu_epi16(has_second ? mask : __mmask16{0}, at + ld + 16 * j));
          const __m512i high = _mm512_slli_epi32(odd, 16);
          _mm512_storeu_si512(lanes + 16 * j, _mm512_or_si512(even, high));
          if (column_sums != nullptr) {
            const __m512 pair = _mm512_add_ps(_mm512_castsi512_ps(_mm512_slli_epi32(even, 16)),
                                              _mm512_castsi512_ps(high));
            _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), pair));
          }
        }
      }
    }
    from += kPerLane<T> * ld;
    to += width;
  }
  if (column_sums == nullptr) return;
  for (std::int64_t i = 0; i < panels.count; ++i) {
    const auto panel = static_cast<std::size_t>(i);
    for (int j = 0; j < 16 * V && (panels.mask[panel] >> j & 1U) != 0; ++j) {
      column_sums[panels.first[panel] + j] += sums[i * V * 16 + j];
    }
  }
}

}  // namespace trib::ops::detail
