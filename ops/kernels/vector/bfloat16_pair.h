// Two vectors of bfloat16 read and written at once. Private to ops/kernels.
//
// Every second number of the two goes to the one and the rest to the other: a shift and a mask
// widen them, less work than to widen numbers that stay in order. For what is bound by arithmetic.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ops/kernels/vector/float_vector.h"

namespace trib::ops::simd {

struct Pair {
  Vector even, odd;
};

/// An extent like Whole and First: 2 kLanes numbers.
struct Twice {};

inline Pair load(const BFloat16* from, Twice) {
  static_assert(std::endian::native == std::endian::little);
  Words both;
  std::memcpy(&both, from, sizeof(both));
  return {cast<Vector>(both << 16), cast<Vector>(both & 0xFFFF0000U)};
}

namespace detail {

inline Words narrow(Pair x) {
#if defined(TRIB_AVX512) && defined(__AVX512BF16__)
  alignas(64) static constexpr std::uint16_t kInTurn[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const auto apart = cast<__m512i>(_mm512_cvtne2ps_pbh(x.odd, x.even));
  return cast<Words>(_mm512_maskz_permutexvar_epi16(0xFFFFFFFF, _mm512_load_si512(kInTurn), apart));
#else
  const Words even = __builtin_convertvector(narrow(x.even), Words);
  const Words odd = __builtin_convertvector(narrow(x.odd), Words);
  return even | odd << 16;
#endif
}

}  // namespace detail

inline void store(BFloat16* to, Pair x, Twice) {
  const Words both = detail::narrow(x);
  std::memcpy(static_cast<void*>(to), &both, sizeof(both));
}

/// As for_vectors, and bfloat16 by pairs of vectors as far as they go.
template <class T, class Body>
void for_pairs(std::int64_t count, const Body& body) {
  std::int64_t begin = 0;
  if constexpr (std::is_same_v<T, BFloat16>) {
    for (; begin + 2 * kLanes <= count; begin += 2 * kLanes) body(begin, Twice{});
  }
  for_vectors(count - begin, [&](std::int64_t i, auto extent) { body(begin + i, extent); });
}

}  // namespace trib::ops::simd
