// Channel tokens before they are formed: token_rcd = sum_p W_cdp patch_rcp + g_cd, where
// g_cd = bias_cd + var_embed_cd. The fused aggregations compute with these parts, not with tokens.
//
// Axes: r position (batch x token), c channel, p pixel of a patch, d feature of a token.
#pragma once

#include <cstdint>

namespace trib::ops {

/// Patches of some channels: row r of channel c is the `pixels` floats at
/// patches_rcp + r * row_stride + c * pixels. row_stride >= channels * pixels; it is larger if
/// these are a group of the channels of a larger tensor.
struct ChannelPatchesView {
  const float* patches_rcp;
  std::int64_t row_stride;
  std::int64_t rows, channels, pixels;
};

/// What turns the patches of the same channels into tokens of `dim` features.
struct TokenWeights {
  const float* weights_cdp;
  const float* biases_cd;
  const float* var_embed_cd;
  std::int64_t dim;
};

/// Gradients of TokenWeights; all are added to.
struct TokenGradients {
  float* d_weights_cdp;
  float* d_biases_cd;
  float* d_var_embed_cd;
};

}  // namespace trib::ops
