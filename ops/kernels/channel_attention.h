// Cross-attention of one learned query with the channels of a position (ClimaX variable
// aggregation, D-CHAG), and the linear alternative.
//
// Axes: r position (batch x token), c channel, h head, d = dim of one head, D = heads * d.
#pragma once

#include <cstdint>

namespace trib::ops {

/// out_rhd = sum_c a_rhc v_rchd with a = softmax_c(d^-1/2 q_hd . k_rchd). kv_rc2hd holds keys then
/// values of each channel token ([R, C, 2, H, d], output of `var_agg.kv`); a_rhc is kept for
/// backward.
void channel_attention_forward(float* out_rhd, float* a_rhc, const float* q_hd,
                               const float* kv_rc2hd, std::int64_t rows, std::int64_t channels,
                               std::int64_t heads, std::int64_t head_dim);

/// dq_hd is added to, dkv_rc2hd is written.
void channel_attention_backward(float* dq_hd, float* dkv_rc2hd, const float* dout_rhd,
                                const float* a_rhc, const float* q_hd, const float* kv_rc2hd,
                                std::int64_t rows, std::int64_t channels, std::int64_t heads,
                                std::int64_t head_dim);

/// out_rD = sum_c w_c t_rcD + bias: nn.Linear(C, 1) along the channel axis.
void channel_linear_forward(float* out_rd, const float* tokens_rcd, const float* w_c, float bias,
                            std::int64_t rows, std::int64_t channels, std::int64_t dim);

/// dtokens_rcd is written; dw_c and *dbias are added to.
void channel_linear_backward(float* dtokens_rcd, float* dw_c, float* dbias, const float* dout_rd,
                             const float* tokens_rcd, const float* w_c, std::int64_t rows,
                             std::int64_t channels, std::int64_t dim);

}  // namespace trib::ops
