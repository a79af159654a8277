// Patches of a block of positions, brought together from the images with positions fastest, and
// the products of such tiles. Private to ops/kernels.
//
// Positions lie fastest, so that they are the lanes of vectors whatever the patch size.
//
// Axes: r position in the block, k pixel of a patch (of one channel after the other), d feature.
#pragma once

#include <cstdint>

#include "ops/kernels/token_weights.h"

namespace trib::ops {

/// Positions of a block.
inline constexpr std::int64_t kPositions = 64;

inline std::int64_t blocks_of(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}

/// x_kr of channels [begin, end) and of position block `block`; missing pixels are 0. After the
/// pixels of a channel comes one of 1, if `extended`. Beyond the last position it is repeated.
void load_patch_tile(float* x_kr, const ChannelPatchesView& patches, std::int64_t block,
                     std::int64_t begin, std::int64_t end, bool extended);

/// out_dr += sum_k x_kr v_kd, or = it if `overwrite`. Rows of v_kd are `stride` apart.
void add_tile_product(float* out_dr, const float* x_kr, const float* v_kd, std::int64_t stride,
                      std::int64_t inner, std::int64_t dim, bool overwrite);

/// dv_kd += sum_r x_kr dout_rd over the first `positions`, or = it if `overwrite`. Rows of dv_kd
/// and of dout_rd are a stride apart.
void add_tile_gradient(float* dv_kd, std::int64_t stride, const float* x_kr, const float* dout_rd,
                       std::int64_t dout_stride, std::int64_t positions, std::int64_t inner,
                       std::int64_t dim, bool overwrite);

/// s_hr = sum_k x_kr u_kh of one channel. Rows of s_hr and of u_kh are a stride apart.
void score_tile(float* s_hr, std::int64_t stride, const float* x_kr, const float* u_kh,
                std::int64_t u_stride, std::int64_t inner, std::int64_t heads);

/// s_r = sum_k x_kr sum_d v_kd dout_dr of one channel. Rows of v_kd are `stride` apart.
void correlate_tile(float* s_r, const float* x_kr, const float* v_kd, std::int64_t stride,
                    const float* dout_dr, std::int64_t inner, std::int64_t dim);

/// to_dr = from_rd of `positions` rows `stride` apart; zero beyond them.
void transpose_to_positions(float* to_dr, const float* from_rd, std::int64_t stride,
                            std::int64_t positions, std::int64_t dim);
/// The way back.
void transpose_from_positions(float* to_rd, std::int64_t stride, const float* from_dr,
                              std::int64_t positions, std::int64_t dim);

}  // namespace trib::ops
