#include "ops/kernels/fused_channel_linear.h"

#include <algorithm>
#include <array>

#include "ops/base/parallel.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector_math.h"

namespace trib::ops {
namespace {

// Features whose sums over rows or channels a task takes.
constexpr std::int64_t kFeatureBlock = 64;
// Pixels (of as many channels as have them) a task folds: what it writes at a time in a row of
// folded weights.
constexpr std::int64_t kPixelBlock = 128;

// Channels [begin, end) in tasks of about kPixelBlock pixels, never more than kPixelBlock channels.
template <class Body>
void for_channel_blocks(const ChannelPatchesView& patches, const Body& body) {
  const std::int64_t block = std::max<std::int64_t>(kPixelBlock / patches.pixels, 1);
  const std::int64_t blocks = (patches.channels + block - 1) / block;
  parallel_for(blocks, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      body(i * block, std::min((i + 1) * block, patches.channels));
    }
  });
}

// folded_dcp = w_c W_cdp
void fold_weights(float* folded_dcp, const ChannelPatchesView& patches, const TokenWeights& tokens,
                  const float* w_c) {
  const std::int64_t pixels = patches.pixels, inner = patches.channels * pixels;
  for_channel_blocks(patches, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t d = 0; d < tokens.dim; ++d) {
      for (std::int64_t c = begin; c < end; ++c) {
        const float* from = tokens.weights_cdp + (c * tokens.dim + d) * pixels;
        float* to = folded_dcp + d * inner + c * pixels;
        const float w = w_c[c];
#pragma omp simd
        for (std::int64_t p = 0; p < pixels; ++p) to[p] = w * from[p];
      }
    }
  });
}

// constant_d = sum_c w_c g_cd + bias
void fold_constants(float* constant_d, const TokenWeights& tokens, const float* w_c, float bias,
                    std::int64_t channels) {
  parallel_for(tokens.dim, kFeatureBlock, [&](std::int64_t begin, std::int64_t end) {
    std::fill(constant_d + begin, constant_d + end, bias);
    for (std::int64_t c = 0; c < channels; ++c) {
      const float* biases = tokens.biases_cd + c * tokens.dim;
      const float* embeds = tokens.var_embed_cd + c * tokens.dim;
      const float w = w_c[c];
#pragma omp simd
      for (std::int64_t d = begin; d < end; ++d) constant_d[d] += w * (biases[d] + embeds[d]);
    }
  });
}

// sum_d = sum_r x_rd
void sum_rows(float* sum_d, const float* x_rd, std::int64_t stride, std::int64_t rows,
              std::int64_t dim) {
  parallel_for(dim, kFeatureBlock, [=](std::int64_t begin, std::int64_t end) {
    std::fill(sum_d + begin, sum_d + end, 0.0F);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* x = x_rd + r * stride;
#pragma omp simd
      for (std::int64_t d = begin; d < end; ++d) sum_d[d] += x[d];
    }
  });
}

// From the gradients of the folded weights and of the constants those of what they are made of.
void unfold_gradients(const TokenGradients& d_tokens, float* dw_c, const float* d_folded_dcp,
                      const float* d_constant_d, const ChannelPatchesView& patches,
                      const TokenWeights& tokens, const float* w_c) {
  const std::int64_t pixels = patches.pixels, inner = patches.channels * pixels;
  const std::int64_t dim = tokens.dim;
  for_channel_blocks(patches, [&](std::int64_t begin, std::int64_t end) {
    std::array<float, kPixelBlock> dw{};
    for (std::int64_t d = 0; d < dim; ++d) {
      for (std::int64_t c = begin; c < end; ++c) {
        const std::int64_t at = (c * dim + d) * pixels;
        const float* weights = tokens.weights_cdp + at;
        float* d_weights = d_tokens.d_weights_cdp + at;
        const float* d_folded = d_folded_dcp + d * inner + c * pixels;
        const float w = w_c[c];
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t p = 0; p < pixels; ++p) {
          sum += d_folded[p] * weights[p];
          d_weights[p] += w * d_folded[p];
        }
        dw[static_cast<std::size_t>(c - begin)] += sum;
      }
    }
    for (std::int64_t c = begin; c < end; ++c) {
      const float* biases = tokens.biases_cd + c * dim;
      const float* embeds = tokens.var_embed_cd + c * dim;
      float* d_biases = d_tokens.d_biases_cd + c * dim;
      float* d_embeds = d_tokens.d_var_embed_cd + c * dim;
      const float w = w_c[c];
      float sum = dw[static_cast<std::size_t>(c - begin)];
#pragma omp simd reduction(+ : sum)
      for (std::int64_t d = 0; d < dim; ++d) {
        sum += d_constant_d[d] * (biases[d] + embeds[d]);
        d_biases[d] += w * d_constant_d[d];
        d_embeds[d] += w * d_constant_d[d];
      }
      dw_c[c] += sum;
    }
  });
}

}  // namespace

std::int64_t fused_channel_linear_workspace(std::int64_t channels, std::int64_t pixels,
                                            std::int64_t dim) {
  return (channels * pixels + 1) * dim;
}

void fused_channel_linear_forward(float* out_rd, std::int64_t out_stride,
                                  const ChannelPatchesView& patches, const TokenWeights& tokens,
                                  const float* w_c, float bias, float* workspace) {
  const std::int64_t dim = tokens.dim, inner = patches.channels * patches.pixels;
  float* const constant_d = workspace;
  float* const folded_dcp = workspace + dim;
  fold_weights(folded_dcp, patches, tokens, w_c);
  fold_constants(constant_d, tokens, w_c, bias, patches.channels);
  parallel_for(patches.rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::copy_n(constant_d, dim, out_rd + r * out_stride);
    }
  });
  gemm(Transpose::no, Transpose::yes, patches.rows, dim, inner, 1.0F, patches.patches_rcp,
       patches.row_stride, folded_dcp, inner, 1.0F, out_rd, out_stride);
}

void fused_channel_linear_backward(const TokenGradients& d_tokens, float* dw_c, float* dbias,
                                   const float* dout_rd, std::int64_t dout_stride,
                                   const ChannelPatchesView& patches, const TokenWeights& tokens,
                                   const float* w_c, float* workspace) {
  const std::int64_t dim = tokens.dim, inner = patches.channels * patches.pixels;
  float* const d_constant_d = workspace;
  float* const d_folded_dcp = workspace + dim;
  sum_rows(d_constant_d, dout_rd, dout_stride, patches.rows, dim);
  gemm(Transpose::yes, Transpose::no, dim, inner, patches.rows, 1.0F, dout_rd, dout_stride,
       patches.patches_rcp, patches.row_stride, 0.0F, d_folded_dcp, inner);
  unfold_gradients(d_tokens, dw_c, d_folded_dcp, d_constant_d, patches, tokens, w_c);
  for (std::int64_t d = 0; d < dim; ++d) *dbias += d_constant_d[d];
}

}  // namespace trib::ops
