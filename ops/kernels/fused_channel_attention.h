// Cross-attention of one learned query with the channels of a position, computed from the patches:
// neither tokens [R, C, D] nor keys nor values are ever formed. Same result and gradients as
// channel_attention_forward with kv = tokens (W_k, W_v)^T.
//
// The query is a parameter, so with u_h = W_k^h^T q_h the scores are kappa u_h . token_rc, and head
// h puts out sum_c a_rhc W_v^h token_rc, kappa = head_dim^-1/2. A token is linear in its patch:
// with the patch extended by a pixel 1, P' = P + 1, and W_c by a column g_c, it is W_c' patch_rc'.
// So scores need kappa W_c'^T u_h [C * P', H], and outputs W_v W_c' [A, C * P'], both made once.
//
// A rank may own some of the channels, some of the heads, or none of either. The softmax over
// channels of several ranks is shared like this:
//
//   fused_channel_scores   -> own max_rh and sum_rh; the ranks find the common ones,
//                             max = largest own max, sum = sum over ranks of sum * exp(own max -
//                             max)
//   factor_rh = exp(own max - max) / sum (a rank alone: 1 / sum_rh)
//   fused_channel_mix      -> own part of the output; the ranks add theirs up
//   fused_channel_attention_backward with the added-up output
//
// Axes: r position (batch x token), c channel, h head, a = feature of all heads, A = heads *
// head_dim, d feature of a token.
#pragma once

#include <cstdint>

#include "ops/kernels/token_weights.h"

namespace trib::ops {

/// Query and projections of `heads` heads, which may be some of the model's: A may be below D.
struct ChannelAttentionWeights {
  const float* q_a;
  const float* k_weight_ad;
  const float* v_weight_ad;
  std::int64_t heads, head_dim;
};

/// Gradients of ChannelAttentionWeights; all are added to.
struct ChannelAttentionGradients {
  float* dq_a;
  float* dk_weight_ad;
  float* dv_weight_ad;
};

/// What forward keeps for backward, in memory of the caller.
struct FusedAttentionState {
  /// fused_attention_weights_floats of them. The attention weights of own channels, [block][h][c]
  /// [position in block]: positions go in blocks, the last one padded.
  float* weights;
  /// fused_attention_folded_floats of them, [C * P', A + H]: a row has W_v W_c', then the score
  /// weights kappa W_c'^T u_h; rows are padded to whole cache lines.
  float* folded;
};

std::int64_t fused_attention_weights_floats(std::int64_t rows, std::int64_t channels,
                                            std::int64_t heads);
std::int64_t fused_attention_folded_floats(std::int64_t channels, std::int64_t pixels,
                                           std::int64_t heads, std::int64_t head_dim);
/// Floats that fused_channel_scores needs as `workspace`.
std::int64_t fused_channel_scores_workspace(std::int64_t channels, std::int64_t pixels,
                                            std::int64_t dim, std::int64_t heads,
                                            std::int64_t head_dim);
/// Floats that fused_channel_attention_backward needs as `workspace`.
std::int64_t fused_channel_attention_backward_workspace(std::int64_t rows, std::int64_t channels,
                                                        std::int64_t pixels, std::int64_t dim,
                                                        std::int64_t heads, std::int64_t head_dim);

/// Fold the weights, and take the softmax over own channels but for its factor: state.weights
/// become exp(score - max_rh), and sum_rh is their sum over channels. Without channels max_rh is
/// -infinity and sum_rh 0.
void fused_channel_scores(const FusedAttentionState& state, float* max_rh, float* sum_rh,
                          const ChannelPatchesView& patches, const TokenWeights& tokens,
                          const ChannelAttentionWeights& attention, float* workspace);

/// Multiply state.weights by factor_rh, and write their mix of the own channels' values to out_ra.
void fused_channel_mix(float* out_ra, const FusedAttentionState& state, const float* factor_rh,
                       const ChannelPatchesView& patches, const ChannelAttentionWeights& attention);

/// Add the gradients of all weights. out_ra is the output over all channels, also those of other
/// ranks. The pixels need no gradient.
void fused_channel_attention_backward(const ChannelAttentionGradients& d_attention,
                                      const TokenGradients& d_tokens, const float* dout_ra,
                                      const float* out_ra, const ChannelPatchesView& patches,
                                      const TokenWeights& tokens,
                                      const ChannelAttentionWeights& attention,
                                      const FusedAttentionState& state, float* workspace);

}  // namespace trib::ops
