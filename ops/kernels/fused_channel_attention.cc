#include "ops/kernels/fused_channel_attention.h"

#include <algorithm>
#include <array>
#include <limits>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/channels/folded_weights.h"
#include "ops/kernels/channels/fused_channel_shape.h"
#include "ops/kernels/channels/patch_tile.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/thread_scratch.h"
#include "ops/kernels/vector/vector_math.h"

namespace trib::ops {
namespace fused_attention {

void fold_tokens(float* w_kd, const Channels& channels, std::int64_t pixels,
                 const TokenWeights& tokens) {
  const std::int64_t dim = tokens.dim;
  parallel_for(
      channels.count(), row_grain(pixels * dim), [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t c = channels.begin + i;
          float* to = w_kd + i * (pixels + 1) * dim;
          fold_channel(to, tokens.weights_cdp + c * dim * pixels, 1.0F, pixels, dim);
          const float *biases = tokens.biases_cd + c * dim, *embeds = tokens.var_embed_cd + c * dim;
          float* constants = to + pixels * dim;
#pragma omp simd
          for (std::int64_t d = 0; d < dim; ++d) constants[d] = biases[d] + embeds[d];
        }
      });
}

void fold_attention(float* vu_fd, const ChannelAttentionWeights& attention, const Shape& shape,
                    std::int64_t dim) {
  const std::int64_t head_dim = shape.head_dim, width = shape.width();
  std::copy_n(attention.v_weight_ad, width * dim, vu_fd);
  float* const u_hd = vu_fd + width * dim;
  const float scale = shape.scale();
  parallel_for(shape.heads, row_grain(head_dim * dim), [=](std::int64_t begin, std::int64_t end) {
    std::fill(u_hd + begin * dim, u_hd + end * dim, 0.0F);
    for (std::int64_t a = begin * head_dim; a < end * head_dim; ++a) {
      const float* key = attention.k_weight_ad + a * dim;
      float* u = u_hd + a / head_dim * dim;
      const float q = scale * attention.q_a[a];
#pragma omp simd
      for (std::int64_t d = 0; d < dim; ++d) u[d] += q * key[d];
    }
  });
}

void weight_patches(float* y_kr, const float* a_cr, const float* x_kr, std::int64_t channels,
                    std::int64_t extended) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* a = a_cr + c * kPositions;
    for (std::int64_t k = c * extended; k < (c + 1) * extended; ++k) {
      const float* x = x_kr + k * kPositions;
      float* y = y_kr + k * kPositions;
#pragma omp simd
      for (std::int64_t r = 0; r < kPositions; ++r) y[r] = a[r] * x[r];
    }
  }
}

}  // namespace fused_attention

namespace {

using namespace fused_attention;

// Scores of all heads, in the layout of the weights, with the score weights u_kh.
void score_blocks(float* weights, const float* u_kh, const ChannelPatchesView& patches,
                  const Shape& shape) {
  const Channels all{0, shape.channels};
  const std::int64_t channel_blocks = all.blocks(shape), extended = shape.extended();
  parallel_for(shape.position_blocks() * channel_blocks, 1,
               [&](std::int64_t begin, std::int64_t end) {
                 float* const x_kr = thread_scratch(shape.tile());
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t block = i / channel_blocks;
                   const Channels channels = all.block(shape, i % channel_blocks);
                   load_patch_tile(x_kr, patches, block, channels.begin, channels.end,
                                   /*extended=*/true);
                   for (std::int64_t c = channels.begin; c < channels.end; ++c) {
                     score_tile(weights + shape.weight_at(block, 0, c), shape.channels * kPositions,
                                x_kr + (c - channels.begin) * extended * kPositions,
                                u_kh + c * extended * shape.folded_stride(), shape.folded_stride(),
                                extended, shape.heads);
                   }
                 }
               });
}

// From the scores of a head in a block of positions to exp(score - max_r).
void exponentiate(float* weights_cr, PerPosition& max_r, PerPosition& sum_r,
                  std::int64_t channels) {
  max_r.fill(-std::numeric_limits<float>::infinity());
  sum_r.fill(0.0F);
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* scores = weights_cr + c * kPositions;
#pragma omp simd
    for (std::size_t r = 0; r < kPositions; ++r) {
      max_r[r] = scores[r] > max_r[r] ? scores[r] : max_r[r];
    }
  }
  for (std::int64_t c = 0; c < channels; ++c) {
    float* weights = weights_cr + c * kPositions;
#pragma omp simd
    for (std::size_t r = 0; r < kPositions; ++r) {
      weights[r] = vector_exp(weights[r] - max_r[r]);
      sum_r[r] += weights[r];
    }
  }
}

// The same for all heads and blocks; the maxima and sums go out without padding.
void exponentiate_blocks(float* weights, float* max_rh, float* sum_rh, const Shape& shape) {
  const std::int64_t heads = shape.heads;
  parallel_for(shape.position_blocks() * heads, row_grain(shape.channels * kPositions),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t block = i / heads, h = i % heads;
                   PerPosition max_r, sum_r;
                   exponentiate(weights + shape.weight_at(block, h, 0), max_r, sum_r,
                                shape.channels);
                   for (std::int64_t r = 0; r < shape.positions(block); ++r) {
                     const std::int64_t at = (block * kPositions + r) * heads + h;
                     max_rh[at] = max_r[static_cast<std::size_t>(r)];
                     sum_rh[at] = sum_r[static_cast<std::size_t>(r)];
                   }
                 }
               });
}

// a_cr *= factor_r, the factors `stride` apart; zero beyond the last position.
void scale_weights(float* a_cr, const float* factors, std::int64_t stride, std::int64_t positions,
                   std::int64_t channels) {
  PerPosition factor{};
  for (std::int64_t r = 0; r < positions; ++r) {
    factor[static_cast<std::size_t>(r)] = factors[r * stride];
  }
  for (std::int64_t c = 0; c < channels; ++c) {
    float* a = a_cr + c * kPositions;
#pragma omp simd
    for (std::size_t r = 0; r < kPositions; ++r) a[r] *= factor[r];
  }
}

}  // namespace

std::int64_t fused_attention_weights_floats(std::int64_t rows, std::int64_t channels,
                                            std::int64_t heads) {
  return blocks_of(rows, kPositions) * kPositions * channels * heads;
}

std::int64_t fused_attention_folded_floats(std::int64_t channels, std::int64_t pixels,
                                           std::int64_t heads, std::int64_t head_dim) {
  return channels * (pixels + 1) * folded_stride_of(heads, head_dim);
}

std::int64_t fused_channel_scores_workspace(std::int64_t channels, std::int64_t pixels,
                                            std::int64_t dim, std::int64_t heads,
                                            std::int64_t head_dim) {
  return (chunk_channels(channels, pixels) * (pixels + 1) + heads * (head_dim + 1)) * dim;
}

void fused_channel_scores(const FusedAttentionState& state, float* max_rh, float* sum_rh,
                          const ChannelPatchesView& patches, const TokenWeights& tokens,
                          const ChannelAttentionWeights& attention, float* workspace) {
  const Shape shape(patches, attention);
  const std::int64_t dim = tokens.dim, folded = shape.folded(), stride = shape.folded_stride();
  const KernelScope scope(
      "fused_channel_scores", {shape.rows, shape.channels, shape.pixels, dim},
      2.0 * static_cast<double>(shape.inner()) *
          static_cast<double>(shape.rows * shape.heads + dim * folded),
      4.0 * static_cast<double>(shape.rows * shape.channels * (shape.pixels + shape.heads) +
                                shape.inner() * (dim + folded)));
  float* const vu_fd = workspace;
  float* const w_kd = vu_fd + folded * dim;

  fold_attention(vu_fd, attention, shape, dim);
  for_chunks(shape, [&](const Channels& chunk) {
    fold_tokens(w_kd, chunk, shape.pixels, tokens);
    gemm(Transpose::no, Transpose::yes, chunk.count() * shape.extended(), folded, dim, 1.0F, w_kd,
         dim, vu_fd, dim, 0.0F, state.folded + chunk.begin * shape.extended() * stride, stride);
  });
  score_blocks(state.weights, state.folded + shape.width(), patches, shape);
  exponentiate_blocks(state.weights, max_rh, sum_rh, shape);
}

void fused_channel_mix(float* out_ra, const FusedAttentionState& state, const float* factor_rh,
                       const ChannelPatchesView& patches,
                       const ChannelAttentionWeights& attention) {
  const Shape shape(patches, attention);
  const std::int64_t heads = shape.heads, head_dim = shape.head_dim, width = shape.width();
  const KernelScope scope(
      "fused_channel_mix", {shape.rows, shape.channels, shape.pixels, width},
      2.0 * static_cast<double>(shape.inner()) * static_cast<double>(shape.rows * width),
      4.0 * static_cast<double>(shape.rows * shape.channels * (shape.pixels + 2 * heads) +
                                shape.inner() * width + shape.rows * width));
  const Channels all{0, shape.channels};
  if (shape.is_empty()) {
    std::fill_n(out_ra, shape.rows * width, 0.0F);
    return;
  }
  for_items_and_heads(
      shape.position_blocks(), heads,
      [&](std::int64_t block, std::int64_t first_head, std::int64_t last_head) {
        const std::int64_t positions = shape.positions(block);
        float* const x_kr =
            thread_scratch(2 * shape.tile() + (last_head - first_head) * head_dim * kPositions);
        float* const y_kr = x_kr + shape.tile();
        float* const out_ar = y_kr + shape.tile();
        for (std::int64_t i = 0; i < all.blocks(shape); ++i) {
          const Channels channels = all.block(shape, i);
          load_patch_tile(x_kr, patches, block, channels.begin, channels.end, /*extended=*/true);
          for (std::int64_t h = first_head; h < last_head; ++h) {
            float* a_cr = state.weights + shape.weight_at(block, h, channels.begin);
            scale_weights(a_cr, factor_rh + block * kPositions * heads + h, heads, positions,
                          channels.count());
            weight_patches(y_kr, a_cr, x_kr, channels.count(), shape.extended());
            add_tile_product(out_ar + (h - first_head) * head_dim * kPositions, y_kr,
                             state.folded +
                                 channels.begin * shape.extended() * shape.folded_stride() +
                                 h * head_dim,
                             shape.folded_stride(), channels.count() * shape.extended(), head_dim,
                             /*overwrite=*/i == 0);
          }
        }
        transpose_from_positions(out_ra + block * kPositions * width + first_head * head_dim, width,
                                 out_ar, positions, (last_head - first_head) * head_dim);
      });
}

}  // namespace trib::ops
