// Vectors of float32 as wide as the processor's registers, read from and written to float32 or
// bfloat16. Private to ops/kernels.
//
// Loops that the compiler does not vectorise well by itself are written with them: arithmetic uses
// the compiler's own operators, so that they work on any processor; what differs is here.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__) || defined(__SSE2__)
#include <immintrin.h>
#endif

#include "ops/base/bfloat16.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define TRIB_AVX512 1
#endif

// Vectors wider than the registers, which some kernels take, are passed to inlined functions alone.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace trib::ops::simd {

#if defined(TRIB_AVX512)
inline constexpr std::int64_t kLanes = 16;
#elif defined(__AVX__)
inline constexpr std::int64_t kLanes = 8;
#else
inline constexpr std::int64_t kLanes = 4;
#endif
using Vector = float __attribute__((vector_size(4 * kLanes)));
using Ints = std::int32_t __attribute__((vector_size(4 * kLanes)));
using Words = std::uint32_t __attribute__((vector_size(4 * kLanes)));
using Halves = std::uint16_t __attribute__((vector_size(2 * kLanes)));

#if defined(TRIB_AVX512)
namespace detail {
// Unmasked forms of some intrinsics make GCC 12 warn of uninitialised variables (bug 105593).
inline constexpr __mmask16 kAll = 0xFFFF;
inline __mmask16 mask_of(std::int64_t lanes) {
  return static_cast<__mmask16>((1U << lanes) - 1);
}
}  // namespace detail
#endif

/// How much of a vector counts: all of it, or its first lanes.
struct Whole {};
struct First {
  std::int64_t lanes;  ///< in [1, kLanes)
};

inline Vector set(float value) {
  return Vector{} + value;
}

template <class To, class From>
To cast(const From& from) {
  return std::bit_cast<To>(from);
}

inline Vector abs(Vector x) {
  return cast<Vector>(cast<Words>(x) & 0x7FFFFFFFU);
}

/// a where it is smaller, else (and if a is not a number) b.
inline Vector smaller(Vector a, Vector b) {
#if defined(TRIB_AVX512)
  return _mm512_maskz_min_ps(detail::kAll, a, b);
#else
  return a < b ? a : b;
#endif
}

inline Vector sqrt(Vector x) {
#if defined(TRIB_AVX512)
  return _mm512_maskz_sqrt_ps(detail::kAll, x);
#else
  for (std::int64_t i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

/// a b + c, rounded once where the processor can: the same bits wherever it is compiled into, which
/// a product with several uses is not.
inline Vector multiply_add(Vector a, Vector b, Vector c) {
#if defined(TRIB_AVX512)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX__) && defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

/// The sum of the lanes, always in the same order.
inline float sum(Vector x) {
  using Quad = float __attribute__((vector_size(16)));
  const auto quads = cast<std::array<Quad, kLanes / 4>>(x);
  Quad q = quads[0];
  for (std::size_t i = 1; i < quads.size(); ++i) q += quads[i];
  return (q[0] + q[2]) + (q[1] + q[3]);
}

namespace detail {

inline Vector widen(Halves bits) {
#if defined(TRIB_AVX512)
  // GCC 12 converts by halves.
  const auto words = cast<Words>(_mm512_maskz_cvtepu16_epi32(kAll, cast<__m256i>(bits)));
#else
  const auto words = __builtin_convertvector(bits, Words);
#endif
  return cast<Vector>(words << 16);
}

inline Halves narrow(Vector x) {
#if defined(TRIB_AVX512) && defined(__AVX512BF16__)
  // The processor's own rounding is that of BFloat16, but for numbers below the smallest normal
  // one, which it takes for zero.
  return cast<Halves>(_mm512_cvtneps_pbh(x));
#else
  const auto from = cast<Words>(x);
  const Words rounded = from + 0x7FFFU + ((from >> 16) & 1U);
  return __builtin_convertvector((x == x ? rounded : from | 0x400000U) >> 16, Halves);
#endif
}

}  // namespace detail

/// Floats: a vector type of any width.
template <class Floats = Vector>
Floats load(const float* from, Whole = {}) {
  Floats x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}
inline Vector load(const BFloat16* from, Whole = {}) {
  Halves bits;
  std::memcpy(&bits, from, sizeof(bits));
  return detail::widen(bits);
}
template <class Floats>
void store(float* to, const Floats& x, Whole = {}) {
  std::memcpy(to, &x, sizeof(x));
}
inline void store(BFloat16* to, Vector x, Whole = {}) {
  const Halves bits = detail::narrow(x);
  std::memcpy(static_cast<void*>(to), &bits, sizeof(bits));
}

/// The lanes beyond the first are zero.
inline Vector load(const float* from, First first) {
#if defined(TRIB_AVX512)
  return _mm512_maskz_loadu_ps(detail::mask_of(first.lanes), from);
#else
  Vector x{};
  for (std::int64_t i = 0; i < first.lanes; ++i) x[i] = from[i];
  return x;
#endif
}
inline Vector load(const BFloat16* from, First first) {
#if defined(TRIB_AVX512)
  return detail::widen(cast<Halves>(_mm256_maskz_loadu_epi16(detail::mask_of(first.lanes), from)));
#else
  Halves bits{};
  for (std::int64_t i = 0; i < first.lanes; ++i) bits[i] = from[i].bits;
  return detail::widen(bits);
#endif
}
inline void store(float* to, Vector x, First first) {
#if defined(TRIB_AVX512)
  _mm512_mask_storeu_ps(to, detail::mask_of(first.lanes), x);
#else
  for (std::int64_t i = 0; i < first.lanes; ++i) to[i] = x[i];
#endif
}
inline void store(BFloat16* to, Vector x, First first) {
  const Halves bits = detail::narrow(x);
#if defined(TRIB_AVX512)
  _mm256_mask_storeu_epi16(to, detail::mask_of(first.lanes), cast<__m256i>(bits));
#else
  for (std::int64_t i = 0; i < first.lanes; ++i) to[i].bits = bits[i];
#endif
}

/// x as it is after being stored as T.
template <class T>
Vector rounded(Vector x) {
  if constexpr (std::is_same_v<T, BFloat16>) return detail::widen(detail::narrow(x));
  return x;
}

/// Zero beyond the first lanes.
inline Vector only(Vector x, Whole) {
  return x;
}
inline Vector only(Vector x, First first) {
#if defined(TRIB_AVX512)
  return _mm512_maskz_mov_ps(detail::mask_of(first.lanes), x);
#else
  for (std::int64_t i = first.lanes; i < kLanes; ++i) x[i] = 0;
  return x;
#endif
}

/// Table of 16 or 32 numbers, looked up lane by lane; of an index the low bits count.
inline Vector look_up(const float (&table)[16], Ints index) {
#if defined(TRIB_AVX512)
  return _mm512_maskz_permutexvar_ps(detail::kAll, cast<__m512i>(index), _mm512_loadu_ps(table));
#else
  Vector x;
  for (std::int64_t i = 0; i < kLanes; ++i) x[i] = table[index[i] & 15];
  return x;
#endif
}
inline Vector look_up(const float (&table)[32], Ints index) {
#if defined(TRIB_AVX512)
  return _mm512_permutex2var_ps(_mm512_loadu_ps(table), cast<__m512i>(index),
                                _mm512_loadu_ps(table + 16));
#else
  Vector x;
  for (std::int64_t i = 0; i < kLanes; ++i) x[i] = table[index[i] & 31];
  return x;
#endif
}

/// Call body(i, how much) for the vectors that cover [0, count).
template <class Body>
void for_vectors(std::int64_t count, const Body& body) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, Whole{});
  if (i < count) body(i, First{count - i});
}

/// The sum of body(i, how much), vectors, over those that cover [0, count): four sums in turn, so
/// that additions need not wait for one another. Lanes beyond the count are left out.
template <class Body>
float sum_of_vectors(std::int64_t count, const Body& body) {
  Vector a{}, b{}, c{}, d{};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    a += body(i, Whole{});
    b += body(i + kLanes, Whole{});
    c += body(i + 2 * kLanes, Whole{});
    d += body(i + 3 * kLanes, Whole{});
  }
  for (; i + kLanes <= count; i += kLanes) a += body(i, Whole{});
  if (i < count) {
    const First first{count - i};
    b += only(body(i, first), first);
  }
  return sum((a + b) + (c + d));
}

/// The lanes in double precision: the first half of them and the rest.
using Doubles = double __attribute__((vector_size(4 * kLanes)));
struct DoublePair {
  Doubles low, high;
};

inline DoublePair widen(Vector x) {
  using Half = float __attribute__((vector_size(2 * kLanes)));
  const auto halves = cast<std::array<Half, 2>>(x);
  return {__builtin_convertvector(halves[0], Doubles), __builtin_convertvector(halves[1], Doubles)};
}

/// As sum_of_vectors, of pairs of doubles. Beyond the count body(i, First) is asked for lanes too;
/// they must be zero.
template <class Body>
double sum_of_doubles(std::int64_t count, const Body& body) {
  Doubles a{}, b{}, c{}, d{};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const DoublePair first = body(i, Whole{}), second = body(i + kLanes, Whole{});
    a += first.low;
    b += first.high;
    c += second.low;
    d += second.high;
  }
  if (i + kLanes <= count) {
    const DoublePair pair = body(i, Whole{});
    a += pair.low;
    b += pair.high;
    i += kLanes;
  }
  if (i < count) {
    const DoublePair pair = body(i, First{count - i});
    c += pair.low;
    d += pair.high;
  }
  const Doubles all = (a + b) + (c + d);
  double total = 0;
  for (std::int64_t lane = 0; lane < kLanes / 2; ++lane) total += all[lane];
  return total;
}

}  // namespace trib::ops::simd
