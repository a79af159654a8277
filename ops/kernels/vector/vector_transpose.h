// Squares of numbers transposed in registers. Private to ops/kernels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "ops/kernels/vector/float_vector.h"

namespace trib::ops::simd {

/// A row a vector.
using Square = std::array<Vector, static_cast<std::size_t>(kLanes)>;

namespace detail {

// Of two rows `distance` apart: the squares of that edge off the diagonal change places.
template <int kDistance, std::size_t... kLane>
void swap_squares(Vector& upper, Vector& lower, std::index_sequence<kLane...>) {
  constexpr int kSecond = static_cast<int>(kLanes);
  const Vector a = upper, b = lower;
  // An index from kSecond on takes from the second vector.
  upper = __builtin_shufflevector(
      a, b, (kLane & kDistance ? static_cast<int>(kLane) - kDistance + kSecond : int(kLane))...);
  lower = __builtin_shufflevector(
      a, b, (kLane & kDistance ? static_cast<int>(kLane) + kSecond : int(kLane) + kDistance)...);
}

template <int kDistance>
void transpose_squares(Square& square) {
  for (std::size_t i = 0; i < square.size(); ++i) {
    if (i & kDistance) continue;
    swap_squares<kDistance>(square[i], square[i + kDistance],
                            std::make_index_sequence<static_cast<std::size_t>(kLanes)>{});
  }
  if constexpr (kDistance > 1) transpose_squares<kDistance / 2>(square);
}

}  // namespace detail

inline void transpose(Square& square) {
  detail::transpose_squares<static_cast<int>(kLanes / 2)>(square);
}

}  // namespace trib::ops::simd
