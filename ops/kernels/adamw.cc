#include "ops/kernels/adamw.h"

#include <algorithm>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector/float_vector.h"

namespace trib::ops {
namespace {

// Elements [begin, end) of a piece. No streaming stores: all but `bf16` is in the cache when it is
// written.
void update(const AdamWPiece& piece, std::int64_t begin, std::int64_t end, const AdamWFactors& f) {
  float* const values = piece.value + begin;
  float* const exp_avg = piece.exp_avg + begin;
  float* const exp_avg_sq = piece.exp_avg_sq + begin;
  const float* const gradient = piece.gradient + begin;
  BFloat16* const bf16 = piece.bf16 == nullptr ? nullptr : piece.bf16 + begin;
  const float rest1 = 1 - f.beta1, rest2 = 1 - f.beta2, keep = piece.keep;
  simd::for_vectors(end - begin, [=](std::int64_t i, auto extent) {
    const simd::Vector g = f.gradient_scale * simd::load(gradient + i, extent);
    const simd::Vector m = f.beta1 * simd::load(exp_avg + i, extent) + rest1 * g;
    const simd::Vector v = f.beta2 * simd::load(exp_avg_sq + i, extent) + rest2 * g * g;
    const simd::Vector denominator = simd::sqrt(v) / f.root_correction2 + f.eps;
    const simd::Vector value = keep * simd::load(values + i, extent) - f.rate * m / denominator;
    simd::store(exp_avg + i, m, extent);
    simd::store(exp_avg_sq + i, v, extent);
    simd::store(values + i, value, extent);
    if (bf16 != nullptr) simd::store(bf16 + i, value, extent);
  });
}

}  // namespace

void adamw_update(std::span<const AdamWPiece> pieces, const AdamWFactors& factors) {
  std::int64_t total = 0, rounded = 0;
  for (const AdamWPiece& piece : pieces) {
    total += piece.count;
    if (piece.bf16 != nullptr) rounded += piece.count;
  }
  const KernelScope scope("adamw_update", {total}, 0,
                          28.0 * static_cast<double>(total) + 2.0 * static_cast<double>(rounded));
  // The pieces as one row of elements, cut evenly, between cache lines where it is one piece.
  constexpr std::int64_t kBlock = 64;
  parallel_for((total + kBlock - 1) / kBlock, kElementGrain / kBlock,
               [&](std::int64_t first_block, std::int64_t last_block) {
                 const std::int64_t begin = first_block * kBlock;
                 const std::int64_t end = std::min(last_block * kBlock, total);
                 std::int64_t first = 0;  // of the piece
                 for (const AdamWPiece& piece : pieces) {
                   if (first >= end) break;
                   const std::int64_t from = std::max(begin - first, std::int64_t{0});
                   const std::int64_t to = std::min(end - first, piece.count);
                   if (from < to) update(piece, from, to, factors);
                   first += piece.count;
                 }
               });
}

}  // namespace trib::ops
