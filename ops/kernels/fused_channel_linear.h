// Tokens of channels summed with a weight a channel, in one product: the tokens are never formed.
//
// out_rd = sum_c w_c (W_cdp patch_rcp + g_cd) + bias is a product of the patches [R, C * P] with
// the folded weights w_c W_cdp [C * P, D]. Same result and gradients as channel_linear_forward of
// the tokens.
//
// Axes: r position (batch x token), c channel, p pixel of a patch, d feature.
#pragma once

#include <cstdint>

#include "ops/kernels/token_weights.h"

namespace trib::ops {

/// Floats that fused_channel_linear_forward and _backward need as `workspace`.
std::int64_t fused_channel_linear_workspace(std::int64_t channels, std::int64_t pixels,
                                            std::int64_t dim);

/// Write out_rd; its rows are `out_stride` >= dim apart. A caller that adds the bias elsewhere
/// gives 0.
void fused_channel_linear_forward(float* out_rd, std::int64_t out_stride,
                                  const ChannelPatchesView& patches, const TokenWeights& tokens,
                                  const float* w_c, float bias, float* workspace);

/// Add the gradients of the tokens' weights, of w_c and of the bias. Rows of dout_rd are
/// `dout_stride` apart. The pixels need no gradient.
void fused_channel_linear_backward(const TokenGradients& d_tokens, float* dw_c, float* dbias,
                                   const float* dout_rd, std::int64_t dout_stride,
                                   const ChannelPatchesView& patches, const TokenWeights& tokens,
                                   const float* w_c, float* workspace);

}  // namespace trib::ops
