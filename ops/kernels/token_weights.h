// Channel tokens before they are formed: token_rcd = sum_p W_cdp patch_rcp + g_cd, where
// g_cd = bias_cd + var_embed_cd. The fused aggregations compute with these parts, not with tokens.
//
// Axes: r position (batch x token), c channel, p pixel of a patch (row-major), d feature of a
// token.
#pragma once

#include <cstdint>

namespace trib::ops {

/// Patches of some channels where they lie in the images: the patch of position r and channel c
/// begins at x + row_offsets[r] + c * channel_stride, and its rows are `pitch` apart. Missing
/// pixels (NaN) count as 0, the mean of normalised data.
struct ChannelPatchesView {
  const float* x;
  const std::int64_t* row_offsets;
  std::int64_t channel_stride, pitch;
  std::int64_t rows, channels;
  std::int64_t height, width;  ///< of a patch

  std::int64_t pixels() const { return height * width; }
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
