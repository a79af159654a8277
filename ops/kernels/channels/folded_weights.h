// Token weights of one channel with features fastest, as rows of larger products, and their
// gradients back. Private to ops/kernels.
//
// Axes: p pixel of a patch, d feature of a token.
#pragma once

#include <cstdint>

namespace trib::ops {

/// folded_pd = factor * weights_dp
void fold_channel(float* folded_pd, const float* weights_dp, float factor, std::int64_t pixels,
                  std::int64_t dim);

/// d_weights_dp += factor * d_folded_pd. Returns the sum of d_folded_pd * weights_dp.
float unfold_channel(float* d_weights_dp, const float* d_folded_pd, const float* weights_dp,
                     float factor, std::int64_t pixels, std::int64_t dim);

/// d_weights_dp += d_folded_pd
void unfold_channel(float* d_weights_dp, const float* d_folded_pd, std::int64_t pixels,
                    std::int64_t dim);

}  // namespace trib::ops
