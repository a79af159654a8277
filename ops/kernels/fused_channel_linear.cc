#include "ops/kernels/fused_channel_linear.h"

#include <algorithm>
#include <array>

#include "ops/base/parallel.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/known_extent.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/thread_scratch.h"
#include "ops/kernels/vector_math.h"

namespace trib::ops {
namespace {

// Features whose sums over rows or channels a task takes.
constexpr std::int64_t kFeatureBlock = 64;
// Pixels (of as many channels as have them) a task folds: what it writes at a time in a row of
// folded weights.
constexpr std::int64_t kPixelBlock = 128;

// Positions and pixels gathered at a time: the inner axes of the products.
constexpr std::int64_t kRowBlock = 64;
constexpr std::int64_t kInner = 512;
// Features are shared out between tasks if there are fewer blocks of positions than this.
constexpr std::int64_t kMinTasks = 8;

std::int64_t blocks_of(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}

// Channels whose pixels are gathered at a time.
std::int64_t channels_at_a_time(const ChannelPatchesView& patches) {
  return std::clamp<std::int64_t>(kInner / patches.pixels(), 1,
                                  std::max<std::int64_t>(patches.channels, 1));
}

// x_rk = the patches of positions [first, last) and channels [begin, end), from the images.
void gather_patches(float* x_rk, const ChannelPatchesView& patches, std::int64_t first,
                    std::int64_t last, std::int64_t begin, std::int64_t end) {
  with_known_extent<2, 4, 8, 16>(patches.width, [&](auto width) {
    for (std::int64_t r = first; r < last; ++r) {
      for (std::int64_t c = begin; c < end; ++c) {
        const float* from = patches.x + patches.row_offsets[r] + c * patches.channel_stride;
        for (std::int64_t y = 0; y < patches.height; ++y) {
          for (std::int64_t p = 0; p < width; ++p) x_rk[p] = from[p] == from[p] ? from[p] : 0.0F;
          x_rk += width;
          from += patches.pitch;
        }
      }
    }
  });
}

// Channels [begin, end) in tasks of about kPixelBlock pixels, never more than kPixelBlock channels.
template <class Body>
void for_channel_blocks(const ChannelPatchesView& patches, const Body& body) {
  const std::int64_t block = std::max<std::int64_t>(kPixelBlock / patches.pixels(), 1);
  parallel_for(blocks_of(patches.channels, block), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      body(i * block, std::min((i + 1) * block, patches.channels));
    }
  });
}

// folded_dcp = w_c W_cdp
void fold_weights(float* folded_dcp, const ChannelPatchesView& patches, const TokenWeights& tokens,
                  const float* w_c) {
  const std::int64_t pixels = patches.pixels(), inner = patches.channels * pixels;
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

// out_rd += patches_rk folded_dk, in tasks of some positions and perhaps some of the features.
void add_products(float* out_rd, std::int64_t out_stride, const ChannelPatchesView& patches,
                  const float* folded_dk, std::int64_t dim) {
  const std::int64_t pixels = patches.pixels(), inner = patches.channels * pixels;
  const std::int64_t step = channels_at_a_time(patches);
  const std::int64_t row_blocks = blocks_of(patches.rows, kRowBlock);
  const std::int64_t groups = std::min(blocks_of(kMinTasks, std::max<std::int64_t>(row_blocks, 1)),
                                       blocks_of(dim, kFeatureBlock));
  parallel_for(row_blocks * groups, 1, [&](std::int64_t begin, std::int64_t end) {
    float* const x_rk = thread_scratch(kRowBlock * step * pixels);
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t first = task / groups * kRowBlock;
      const std::int64_t last = std::min(first + kRowBlock, patches.rows);
      const std::int64_t group = task % groups;
      const std::int64_t d0 = group * dim / groups, d1 = (group + 1) * dim / groups;
      for (std::int64_t c = 0; c < patches.channels; c += step) {
        const std::int64_t channels = std::min(step, patches.channels - c);
        gather_patches(x_rk, patches, first, last, c, c + channels);
        gemm_serial(Transpose::no, Transpose::yes, last - first, d1 - d0, channels * pixels, 1.0F,
                    x_rk, channels * pixels, folded_dk + d0 * inner + c * pixels, inner, 1.0F,
                    out_rd + first * out_stride + d0, out_stride);
      }
    }
  });
}

// d_folded_dk = dout_rd^T patches_rk, in tasks of some channels.
void folded_gradient(float* d_folded_dk, const float* dout_rd, std::int64_t dout_stride,
                     const ChannelPatchesView& patches, std::int64_t dim) {
  const std::int64_t pixels = patches.pixels(), inner = patches.channels * pixels;
  const std::int64_t step = channels_at_a_time(patches);
  parallel_for(blocks_of(patches.channels, step), 1, [&](std::int64_t begin, std::int64_t end) {
    float* const x_rk = thread_scratch(kRowBlock * step * pixels);
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t c = task * step, channels = std::min(step, patches.channels - c);
      float* const d_folded = d_folded_dk + c * pixels;
      if (patches.rows == 0) {
        for (std::int64_t d = 0; d < dim; ++d) {
          std::fill_n(d_folded + d * inner, channels * pixels, 0.0F);
        }
      }
      for (std::int64_t first = 0; first < patches.rows; first += kRowBlock) {
        const std::int64_t last = std::min(first + kRowBlock, patches.rows);
        gather_patches(x_rk, patches, first, last, c, c + channels);
        gemm_serial(Transpose::yes, Transpose::no, dim, channels * pixels, last - first, 1.0F,
                    dout_rd + first * dout_stride, dout_stride, x_rk, channels * pixels,
                    first == 0 ? 0.0F : 1.0F, d_folded, inner);
      }
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
  const std::int64_t pixels = patches.pixels(), inner = patches.channels * pixels;
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
  const std::int64_t dim = tokens.dim;
  float* const constant_d = workspace;
  float* const folded_dcp = workspace + dim;
  fold_weights(folded_dcp, patches, tokens, w_c);
  fold_constants(constant_d, tokens, w_c, bias, patches.channels);
  parallel_for(patches.rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::copy_n(constant_d, dim, out_rd + r * out_stride);
    }
  });
  add_products(out_rd, out_stride, patches, folded_dcp, dim);
}

void fused_channel_linear_backward(const TokenGradients& d_tokens, float* dw_c, float* dbias,
                                   const float* dout_rd, std::int64_t dout_stride,
                                   const ChannelPatchesView& patches, const TokenWeights& tokens,
                                   const float* w_c, float* workspace) {
  const std::int64_t dim = tokens.dim;
  float* const d_constant_d = workspace;
  float* const d_folded_dcp = workspace + dim;
  sum_rows(d_constant_d, dout_rd, dout_stride, patches.rows, dim);
  folded_gradient(d_folded_dcp, dout_rd, dout_stride, patches, dim);
  unfold_gradients(d_tokens, dw_c, d_folded_dcp, d_constant_d, patches, tokens, w_c);
  for (std::int64_t d = 0; d < dim; ++d) *dbias += d_constant_d[d];
}

}  // namespace trib::ops
