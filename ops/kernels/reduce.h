// Sums over many items in parallel, with results that do not depend on the number of threads: the
// items are cut into pieces by their number alone, and the pieces' sums are added in order.
// Private to ops/kernels.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include "ops/base/parallel.h"
#include "ops/kernels/thread_scratch.h"

namespace trib::ops {

/// Elements a task of an elementwise loop gets at least: some microseconds of work.
inline constexpr std::int64_t kElementGrain = 16384;

/// Rows of `dim` elements a task gets at least.
inline std::int64_t row_grain(std::int64_t dim) {
  return std::max<std::int64_t>(kElementGrain / std::max<std::int64_t>(dim, 1), 1);
}

namespace detail {

/// Each piece has a sum of its own.
inline constexpr std::int64_t kMaxPieces = 64;

/// How many pieces of at least `grain` items to cut `count` items into.
inline std::int64_t reduction_pieces(std::int64_t count, std::int64_t grain) {
  return std::clamp<std::int64_t>(count / grain, 1, kMaxPieces);
}

}  // namespace detail

/// Sum over [0, count): body(begin, end) returns the sum of its items, a double or whatever starts
/// at zero and has +=.
template <class Body>
auto reduce(std::int64_t count, std::int64_t grain, const Body& body) {
  using Sum = std::invoke_result_t<Body, std::int64_t, std::int64_t>;
  const std::int64_t pieces = detail::reduction_pieces(count, grain);
  std::array<Sum, detail::kMaxPieces> sums;
  parallel_for(pieces, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      sums[static_cast<std::size_t>(i)] = body(i * count / pieces, (i + 1) * count / pieces);
    }
  });
  Sum total{};
  for (std::int64_t i = 0; i < pieces; ++i) total += sums[static_cast<std::size_t>(i)];
  return total;
}

/// Add to total[width]: body(begin, end, sum) adds its items to sum[width], which starts at zero
/// on a cache line.
template <class Body>
void reduce_vector(std::int64_t count, std::int64_t grain, float* total, std::int64_t width,
                   const Body& body) {
  const std::int64_t pieces = detail::reduction_pieces(count, grain);
  const std::int64_t pitch = (width + 15) / 16 * 16;
  const ScratchScope scratch(pieces * pitch);
  float* const sums = scratch.data();
  parallel_for(pieces, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      float* const sum = sums + i * pitch;
      std::fill_n(sum, width, 0.0F);
      body(i * count / pieces, (i + 1) * count / pieces, sum);
    }
  });
  parallel_for(width, std::max<std::int64_t>(kElementGrain / pieces, 1),
               [=](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = 0; i < pieces; ++i) {
                   const float* sum = sums + i * pitch;
#pragma omp simd
                   for (std::int64_t j = begin; j < end; ++j) total[j] += sum[j];
                 }
               });
}

}  // namespace trib::ops
