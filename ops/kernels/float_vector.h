// Vectors of float32 as wide as the processor's registers, read from and written to float32 or
// bfloat16. Private to ops/kernels.
//
// Loops that the compiler does not vectorise well by itself are written with them: arithmetic uses
// the compiler's own operators, so that they work on any processor; what differs is here.
#pragma once

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

namespace trib::ops::simd {

#if defined(TRIB_AVX512)
inline constexpr std::int64_t kLanes = 16;
#elif defined(__AVX__)
inline constexpr std::int64_t kLanes = 8;
#else
inline constexpr std::int64_t kLanes = 4;
#endif
/// Streaming stores want their target on this boundary.
inline constexpr std::uintptr_t kStreamAlignment = 64;

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

/// The sum of the lanes, always in the same order.
inline float sum(Vector x) {
#if defined(TRIB_AVX512)
  return _mm512_reduce_add_ps(x);
#else
  float total = 0;
  for (std::int64_t i = 0; i < kLanes; ++i) total += x[i];
  return total;
#endif
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

inline Vector load(const float* from, Whole = {}) {
  Vector x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}
inline Vector load(const BFloat16* from, Whole = {}) {
  Halves bits;
  std::memcpy(&bits, from, sizeof(bits));
  return detail::widen(bits);
}
inline void store(float* to, Vector x, Whole = {}) {
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

/// Past the caches, for results that would not stay in them anyway: the line need not be read
/// first. `to` is aligned to a vector. Before another thread reads it: end_streams().
inline void stream(float* to, Vector x) {
#if defined(TRIB_AVX512)
  _mm512_stream_ps(to, x);
#elif defined(__AVX__)
  _mm256_stream_ps(to, x);
#elif defined(__SSE2__)
  _mm_stream_ps(to, x);
#else
  store(to, x);
#endif
}
inline void stream(BFloat16* to, Vector x) {
#if defined(TRIB_AVX512)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), cast<__m256i>(detail::narrow(x)));
#else
  store(to, x);
#endif
}
inline void end_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// Table of 16 numbers, looked up lane by lane; of an index the low four bits count.
inline Vector look_up(const float (&table)[16], Ints index) {
#if defined(TRIB_AVX512)
  return _mm512_maskz_permutexvar_ps(detail::kAll, cast<__m512i>(index), _mm512_loadu_ps(table));
#else
  Vector x;
  for (std::int64_t i = 0; i < kLanes; ++i) x[i] = table[index[i] & 15];
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

}  // namespace trib::ops::simd
