#include "ops/kernels/fused_channel_linear.h"

#include <algorithm>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/channels/folded_weights.h"
#include "ops/kernels/channels/patch_tile.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/thread_scratch.h"

namespace trib::ops {
namespace {

// Features whose sums over rows or channels a task takes.
constexpr std::int64_t kFeatureBlock = 64;
// Pixels (of whole channels) taken at a time: a tile of them stays in the first cache.
constexpr std::int64_t kInner = 96;
// Features are shared out between tasks only if there are fewer tasks than this without: each task
// gathers the patches for itself.
constexpr std::int64_t kMinTasks = 8;

// Channels are taken in blocks of nearly the same size.
std::int64_t channel_blocks(const ChannelPatchesView& patches) {
  return blocks_of(patches.channels, std::max<std::int64_t>(kInner / patches.pixels(), 1));
}
std::int64_t channel_boundary(const ChannelPatchesView& patches, std::int64_t block) {
  return block * patches.channels / std::max<std::int64_t>(channel_blocks(patches), 1);
}
// Floats of the largest block of channels of a block of positions.
std::int64_t tile_floats(const ChannelPatchesView& patches) {
  return std::max<std::int64_t>(kInner, patches.pixels()) * kPositions;
}

// Call body(item, first feature, last feature) for all items and features, in parallel over the
// items and, if these are few, over groups of features. From the shape alone, never from the number
// of threads.
template <class Body>
void for_items_and_features(std::int64_t items, std::int64_t dim, const Body& body) {
  constexpr std::int64_t kLine = 16;
  if (items == 0) return;
  const std::int64_t lines = blocks_of(dim, kLine);
  const std::int64_t groups = std::min(lines, blocks_of(kMinTasks, items));
  parallel_for(items * groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t group = i % groups;
      body(i / groups, group * lines / groups * kLine,
           std::min((group + 1) * lines / groups * kLine, dim));
    }
  });
}

// folded_cpd = w_c W_cdp
void fold_weights(float* folded_cpd, const ChannelPatchesView& patches, const TokenWeights& tokens,
                  const float* w_c) {
  const std::int64_t size = patches.pixels() * tokens.dim;
  parallel_for(patches.channels, row_grain(size), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      fold_channel(folded_cpd + c * size, tokens.weights_cdp + c * size, w_c[c], patches.pixels(),
                   tokens.dim);
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

// out_rd = constant_d + patches_rk folded_kd, in tasks of some positions and perhaps some of the
// features.
void mix_patches(float* out_rd, std::int64_t out_stride, const ChannelPatchesView& patches,
                 const float* folded_kd, const float* constant_d, std::int64_t dim) {
  const std::int64_t pixels = patches.pixels();
  for_items_and_features(
      blocks_of(patches.rows, kPositions), dim,
      [&](std::int64_t block, std::int64_t d0, std::int64_t d1) {
        float* const x_kr = thread_scratch(tile_floats(patches) + (d1 - d0) * kPositions);
        float* const out_dr = x_kr + tile_floats(patches);
        for (std::int64_t d = d0; d < d1; ++d) {
          std::fill_n(out_dr + (d - d0) * kPositions, kPositions, constant_d[d]);
        }
        for (std::int64_t i = 0; i < channel_blocks(patches); ++i) {
          const std::int64_t begin = channel_boundary(patches, i);
          const std::int64_t end = channel_boundary(patches, i + 1);
          load_patch_tile(x_kr, patches, block, begin, end, /*extended=*/false);
          add_tile_product(out_dr, x_kr, folded_kd + begin * pixels * dim + d0, dim,
                           (end - begin) * pixels, d1 - d0, /*overwrite=*/false);
        }
        transpose_from_positions(out_rd + block * kPositions * out_stride + d0, out_stride, out_dr,
                                 std::min(kPositions, patches.rows - block * kPositions), d1 - d0);
      });
}

// d_folded_kd = patches_rk^T dout_rd, in tasks of some channels and perhaps some of the features.
void folded_gradient(float* d_folded_kd, const float* dout_rd, std::int64_t dout_stride,
                     const ChannelPatchesView& patches, std::int64_t dim) {
  const std::int64_t pixels = patches.pixels();
  if (patches.rows == 0) std::fill_n(d_folded_kd, patches.channels * pixels * dim, 0.0F);
  for_items_and_features(
      channel_blocks(patches), dim, [&](std::int64_t i, std::int64_t d0, std::int64_t d1) {
        const std::int64_t begin = channel_boundary(patches, i);
        const std::int64_t end = channel_boundary(patches, i + 1);
        float* const x_kr = thread_scratch(tile_floats(patches));
        for (std::int64_t first = 0; first < patches.rows; first += kPositions) {
          load_patch_tile(x_kr, patches, first / kPositions, begin, end, /*extended=*/false);
          add_tile_gradient(d_folded_kd + begin * pixels * dim + d0, dim, x_kr,
                            dout_rd + first * dout_stride + d0, dout_stride,
                            std::min(kPositions, patches.rows - first), (end - begin) * pixels,
                            d1 - d0, /*overwrite=*/first == 0);
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
void unfold_gradients(const TokenGradients& d_tokens, float* dw_c, const float* d_folded_cpd,
                      const float* d_constant_d, const ChannelPatchesView& patches,
                      const TokenWeights& tokens, const float* w_c) {
  const std::int64_t dim = tokens.dim, size = patches.pixels() * dim;
  parallel_for(patches.channels, row_grain(size), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      const float w = w_c[c];
      float sum = unfold_channel(d_tokens.d_weights_cdp + c * size, d_folded_cpd + c * size,
                                 tokens.weights_cdp + c * size, w, patches.pixels(), dim);
      const float* biases = tokens.biases_cd + c * dim;
      const float* embeds = tokens.var_embed_cd + c * dim;
      float* d_biases = d_tokens.d_biases_cd + c * dim;
      float* d_embeds = d_tokens.d_var_embed_cd + c * dim;
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

// Weights and their folded form, or the gradients of both, and the patches and outputs.
KernelScope scope_of(const char* kernel, const ChannelPatchesView& patches, std::int64_t dim) {
  const std::int64_t inner = patches.channels * patches.pixels();
  return {kernel,
          {patches.rows, patches.channels, patches.pixels(), dim},
          2.0 * static_cast<double>(patches.rows) * static_cast<double>(inner * dim),
          4.0 * static_cast<double>(patches.rows * (inner + dim) + 2 * inner * dim)};
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
  const KernelScope scope = scope_of("fused_channel_linear_forward", patches, dim);
  float* const constant_d = workspace;
  float* const folded_cpd = workspace + dim;
  fold_weights(folded_cpd, patches, tokens, w_c);
  fold_constants(constant_d, tokens, w_c, bias, patches.channels);
  mix_patches(out_rd, out_stride, patches, folded_cpd, constant_d, dim);
}

void fused_channel_linear_backward(const TokenGradients& d_tokens, float* dw_c, float* dbias,
                                   const float* dout_rd, std::int64_t dout_stride,
                                   const ChannelPatchesView& patches, const TokenWeights& tokens,
                                   const float* w_c, float* workspace) {
  const std::int64_t dim = tokens.dim;
  const KernelScope scope = scope_of("fused_channel_linear_backward", patches, dim);
  float* const d_constant_d = workspace;
  float* const d_folded_cpd = workspace + dim;
  sum_rows(d_constant_d, dout_rd, dout_stride, patches.rows, dim);
  folded_gradient(d_folded_cpd, dout_rd, dout_stride, patches, dim);
  unfold_gradients(d_tokens, dw_c, d_folded_cpd, d_constant_d, patches, tokens, w_c);
  for (std::int64_t d = 0; d < dim; ++d) *dbias += d_constant_d[d];
}

}  // namespace trib::ops
