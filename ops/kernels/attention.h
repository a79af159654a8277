// Multi-head self-attention that never stores the N x N matrix (online softmax over key blocks, as
// FlashAttention, Dao et al. 2022).
//
// Axes: b sample, n token, h head, d = dim of one head, D = heads * d.
#pragma once

#include <cstdint>

#include "ops/base/float_ptr.h"

namespace trib::ops {

// All pointers but lse_bhn are of one type, float32 or bfloat16; scores, sums and exponentials are
// float32.

/// qkv_bn3hd is the output of timm's `attn.qkv` ([B, N, 3, H, d]); out_bnhd gets the heads'
/// outputs side by side ([B, N, D]); lse_bhn keeps log-sum-exp of the scaled scores for backward.
/// The scale is d^-1/2.
void attention_forward(FloatPtr out_bnhd, float* lse_bhn, ConstFloatPtr qkv_bn3hd,
                       std::int64_t batch, std::int64_t tokens, std::int64_t heads,
                       std::int64_t head_dim);

/// dqkv_bn3hd is written. Scores are computed again block by block.
void attention_backward(FloatPtr dqkv_bn3hd, ConstFloatPtr dout_bnhd, ConstFloatPtr qkv_bn3hd,
                        ConstFloatPtr out_bnhd, const float* lse_bhn, std::int64_t batch,
                        std::int64_t tokens, std::int64_t heads, std::int64_t head_dim);

}  // namespace trib::ops
