#include "ops/kernels/fused_channel_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/base/parallel.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/lanes.h"
#include "ops/kernels/patch_tile.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/thread_scratch.h"
#include "ops/kernels/vector_math.h"

// Positions are taken in blocks and lie fastest in memory there (see patch_tile.h), so that scores,
// softmax and mix are vectors over positions, whatever the patch size. A pixel of an extended patch
// is called k: k = c * P' + p.

namespace trib::ops {
namespace {

// Extended pixels (of whole channels) taken at a time: a tile of them stays in the first cache.
constexpr std::int64_t kInner = 128;
// Heads are shared out between tasks only if there are fewer tasks than this without: each task
// gathers the patches for itself.
constexpr std::int64_t kMinTasks = 8;

using PerPosition = std::array<float, kPositions>;

struct Shape {
  std::int64_t rows, channels, pixels, heads, head_dim;

  Shape(const ChannelPatchesView& patches, const ChannelAttentionWeights& attention)
      : rows(patches.rows),
        channels(patches.channels),
        pixels(patches.pixels()),
        heads(attention.heads),
        head_dim(attention.head_dim) {}

  bool is_empty() const { return rows == 0 || channels == 0 || heads == 0; }
  float scale() const { return 1.0F / std::sqrt(static_cast<float>(head_dim)); }
  std::int64_t width() const { return heads * head_dim; }
  std::int64_t extended() const { return pixels + 1; }
  std::int64_t inner() const { return channels * extended(); }
  std::int64_t position_blocks() const { return blocks_of(rows, kPositions); }
  std::int64_t positions(std::int64_t block) const {
    return std::min(kPositions, rows - block * kPositions);
  }
  std::int64_t channel_blocks() const {
    return blocks_of(channels, std::max<std::int64_t>(kInner / extended(), 1));
  }
  // Floats of the largest block of channels of a block of positions, extended.
  std::int64_t tile() const {
    return blocks_of(channels, channel_blocks()) * extended() * kPositions;
  }
  // First weight of a channel.
  std::int64_t weight_at(std::int64_t block, std::int64_t h, std::int64_t c) const {
    return ((block * heads + h) * channels + c) * kPositions;
  }
};

// Channels [begin, end) of a shape: blocks are of nearly the same size.
struct Channels {
  std::int64_t begin, end;

  Channels(const Shape& shape, std::int64_t block)
      : begin(block * shape.channels / shape.channel_blocks()),
        end((block + 1) * shape.channels / shape.channel_blocks()) {}
  std::int64_t count() const { return end - begin; }
};

// Call body(item, first head, last head) for all items and heads, in parallel over the items and,
// if these are few, over groups of heads. From the shape alone, never from the number of threads.
template <class Body>
void for_items_and_heads(std::int64_t items, std::int64_t heads, const Body& body) {
  const std::int64_t groups = std::min(heads, blocks_of(kMinTasks, items));
  parallel_for(items * groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t group = i % groups;
      body(i / groups, group * heads / groups, (group + 1) * heads / groups);
    }
  });
}

// Token weights as rows over features, w_kd: the transposed W_c, then g_c.
void fold_tokens(float* w_kd, const Shape& shape, const TokenWeights& tokens) {
  const std::int64_t pixels = shape.pixels, dim = tokens.dim;
  parallel_for(shape.channels, row_grain(pixels * dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      const float* from = tokens.weights_cdp + c * dim * pixels;
      float* to = w_kd + c * (pixels + 1) * dim;
      for (std::int64_t p = 0; p < pixels; ++p) {
        for (std::int64_t d = 0; d < dim; ++d) to[p * dim + d] = from[d * pixels + p];
      }
      const float *biases = tokens.biases_cd + c * dim, *embeds = tokens.var_embed_cd + c * dim;
      float* constants = to + pixels * dim;
#pragma omp simd
      for (std::int64_t d = 0; d < dim; ++d) constants[d] = biases[d] + embeds[d];
    }
  });
}

void unfold_token_gradients(const TokenGradients& d_tokens, const float* dw_kd, const Shape& shape,
                            std::int64_t dim) {
  const std::int64_t pixels = shape.pixels;
  parallel_for(shape.channels, row_grain(pixels * dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      const float* from = dw_kd + c * (pixels + 1) * dim;
      float* to = d_tokens.d_weights_cdp + c * dim * pixels;
      for (std::int64_t d = 0; d < dim; ++d) {
        for (std::int64_t p = 0; p < pixels; ++p) to[d * pixels + p] += from[p * dim + d];
      }
      const float* constants = from + pixels * dim;
      float* d_biases = d_tokens.d_biases_cd + c * dim;
      float* d_embeds = d_tokens.d_var_embed_cd + c * dim;
#pragma omp simd
      for (std::int64_t d = 0; d < dim; ++d) {
        d_biases[d] += constants[d];
        d_embeds[d] += constants[d];
      }
    }
  });
}

// u_hd = W_k^h^T q_h
void fold_query(float* u_hd, const ChannelAttentionWeights& attention, std::int64_t dim) {
  const std::int64_t head_dim = attention.head_dim;
  parallel_for(attention.heads, row_grain(head_dim * dim),
               [=](std::int64_t begin, std::int64_t end) {
                 std::fill(u_hd + begin * dim, u_hd + end * dim, 0.0F);
                 for (std::int64_t a = begin * head_dim; a < end * head_dim; ++a) {
                   const float* key = attention.k_weight_ad + a * dim;
                   float* u = u_hd + a / head_dim * dim;
                   const float q = attention.q_a[a];
#pragma omp simd
                   for (std::int64_t d = 0; d < dim; ++d) u[d] += q * key[d];
                 }
               });
}

void unfold_query_gradient(const ChannelAttentionGradients& d_attention, const float* du_hd,
                           const ChannelAttentionWeights& attention, std::int64_t dim) {
  const std::int64_t head_dim = attention.head_dim;
  parallel_for(attention.heads * head_dim, row_grain(dim),
               [=](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t a = begin; a < end; ++a) {
                   const float* key = attention.k_weight_ad + a * dim;
                   const float* du = du_hd + a / head_dim * dim;
                   float* d_key = d_attention.dk_weight_ad + a * dim;
                   const float q = attention.q_a[a];
#pragma omp simd
                   for (std::int64_t d = 0; d < dim; ++d) d_key[d] += q * du[d];
                   d_attention.dq_a[a] += dot(key, du, dim);
                 }
               });
}

// Scores of all heads, in the layout of the weights.
void score_blocks(float* weights, const float* scores_kh, const ChannelPatchesView& patches,
                  const Shape& shape) {
  const std::int64_t channel_blocks = shape.channel_blocks(), extended = shape.extended();
  const std::int64_t heads = shape.heads;
  parallel_for(shape.position_blocks() * channel_blocks, 1,
               [&](std::int64_t begin, std::int64_t end) {
                 float* const x_kr = thread_scratch(shape.tile());
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t block = i / channel_blocks;
                   const Channels channels(shape, i % channel_blocks);
                   load_patch_tile(x_kr, patches, block, channels.begin, channels.end,
                                   /*extended=*/true);
                   for (std::int64_t c = channels.begin; c < channels.end; ++c) {
                     score_tile(weights + shape.weight_at(block, 0, c), shape.channels * kPositions,
                                x_kr + (c - channels.begin) * extended * kPositions,
                                scores_kh + c * extended * heads, extended, heads);
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

// y_kr = a_cr x_kr
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

// delta_hr = dout_rh . out_rh, in blocks of positions as the weights, [block][h][position].
void output_dots(float* delta, const float* dout_ra, const float* out_ra, const Shape& shape) {
  const std::int64_t heads = shape.heads, head_dim = shape.head_dim, width = shape.width();
  parallel_for(shape.position_blocks(), 1, [=, &shape](std::int64_t begin, std::int64_t end) {
    std::fill(delta + begin * heads * kPositions, delta + end * heads * kPositions, 0.0F);
    for (std::int64_t r = begin * kPositions; r < std::min(end * kPositions, shape.rows); ++r) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t at = r * width + h * head_dim;
        delta[(r / kPositions * heads + h) * kPositions + r % kPositions] =
            dot(dout_ra + at, out_ra + at, head_dim);
      }
    }
  });
}

// dout with positions fastest, [block][a][position].
void transpose_outputs(float* dout_ar, const float* dout_ra, const Shape& shape) {
  const std::int64_t width = shape.width();
  parallel_for(shape.position_blocks(), 1, [=, &shape](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      transpose_to_positions(dout_ar + block * width * kPositions,
                             dout_ra + block * kPositions * width, width, shape.positions(block),
                             width);
    }
  });
}

// d_scores_kl += ds_r x_kr, not yet added up over the lanes l of the positions.
void add_score_gradient(float* d_scores_kl, std::int64_t stride, const float* ds_r,
                        const float* x_kr, std::int64_t extended) {
  for (std::int64_t k = 0; k < extended; ++k) {
    float* sums = d_scores_kl + k * stride;
    const float* x = x_kr + k * kPositions;
    Lanes sum = load<Lanes>(sums);
    for (std::int64_t r = 0; r < kPositions; r += kLanes) {
      sum += load<Lanes>(ds_r + r) * load<Lanes>(x + r);
    }
    store(sums, sum);
  }
}

// Gradients of the folded values and of the score weights, d_values_ka and d_scores_kh. A task has
// some channels, and maybe some heads, of all positions: nothing is shared.
void folded_gradients(float* d_values_ka, float* d_scores_kh, const float* delta,
                      const float* dout_ra, const float* dout_ar, const ChannelPatchesView& patches,
                      const Shape& shape, const FusedAttentionState& state) {
  const std::int64_t extended = shape.extended(), width = shape.width();
  const std::int64_t heads = shape.heads, head_dim = shape.head_dim;
  for_items_and_heads(
      shape.channel_blocks(), heads,
      [&](std::int64_t channel_block, std::int64_t first_head, std::int64_t last_head) {
        const Channels channels(shape, channel_block);
        const std::int64_t k0 = channels.begin * extended, inner = channels.count() * extended;
        const std::int64_t own_heads = last_head - first_head;
        const std::int64_t lanes = own_heads * kLanes;  // of a pixel
        float* const x_kr = thread_scratch(2 * shape.tile() + inner * lanes);
        float* const y_kr = x_kr + shape.tile();
        float* const d_scores_khl = y_kr + shape.tile();
        std::fill_n(d_scores_khl, inner * lanes, 0.0F);
        for (std::int64_t block = 0; block < shape.position_blocks(); ++block) {
          load_patch_tile(x_kr, patches, block, channels.begin, channels.end, /*extended=*/true);
          for (std::int64_t h = first_head; h < last_head; ++h) {
            const float* a_cr = state.weights + shape.weight_at(block, h, channels.begin);
            const float* delta_r = delta + (block * heads + h) * kPositions;
            const std::int64_t at = k0 * width + h * head_dim;
            weight_patches(y_kr, a_cr, x_kr, channels.count(), extended);
            add_tile_gradient(d_values_ka + at, width, y_kr,
                              dout_ra + block * kPositions * width + h * head_dim, width,
                              shape.positions(block), inner, head_dim, /*overwrite=*/block == 0);
            for (std::int64_t c = 0; c < channels.count(); ++c) {
              const float *a_r = a_cr + c * kPositions, *x = x_kr + c * extended * kPositions;
              alignas(64) PerPosition ds;
              correlate_tile(ds.data(), x, state.folded_values + at + c * extended * width, width,
                             dout_ar + (block * width + h * head_dim) * kPositions, extended,
                             head_dim);
#pragma omp simd
              for (std::size_t r = 0; r < kPositions; ++r) ds[r] = a_r[r] * (ds[r] - delta_r[r]);
              add_score_gradient(d_scores_khl + c * extended * lanes + (h - first_head) * kLanes,
                                 lanes, ds.data(), x, extended);
            }
          }
        }
        for (std::int64_t k = 0; k < inner; ++k) {
          for (std::int64_t h = 0; h < own_heads; ++h) {
            float sum = 0;
            for (std::int64_t l = 0; l < kLanes; ++l)
              sum += d_scores_khl[k * lanes + h * kLanes + l];
            d_scores_kh[(k0 + k) * heads + first_head + h] = sum;
          }
        }
      });
}

}  // namespace

std::int64_t fused_attention_weights_floats(std::int64_t rows, std::int64_t channels,
                                            std::int64_t heads) {
  return blocks_of(rows, kPositions) * kPositions * channels * heads;
}

std::int64_t fused_attention_values_floats(std::int64_t channels, std::int64_t pixels,
                                           std::int64_t heads, std::int64_t head_dim) {
  return channels * (pixels + 1) * heads * head_dim;
}

std::int64_t fused_channel_scores_workspace(std::int64_t channels, std::int64_t pixels,
                                            std::int64_t dim, std::int64_t heads) {
  return channels * (pixels + 1) * (dim + heads) + heads * dim;
}

std::int64_t fused_channel_attention_backward_workspace(std::int64_t rows, std::int64_t channels,
                                                        std::int64_t pixels, std::int64_t dim,
                                                        std::int64_t heads, std::int64_t head_dim) {
  return channels * (pixels + 1) * (dim + heads * head_dim + heads) + 2 * heads * dim +
         blocks_of(rows, kPositions) * kPositions * heads * (1 + head_dim);
}

void fused_channel_scores(const FusedAttentionState& state, float* max_rh, float* sum_rh,
                          const ChannelPatchesView& patches, const TokenWeights& tokens,
                          const ChannelAttentionWeights& attention, float* workspace) {
  const Shape shape(patches, attention);
  const std::int64_t heads = shape.heads, dim = tokens.dim;
  float* const w_kd = workspace;
  float* const u_hd = w_kd + shape.inner() * dim;
  float* const scores_kh = u_hd + heads * dim;

  fold_tokens(w_kd, shape, tokens);
  fold_query(u_hd, attention, dim);
  gemm(Transpose::no, Transpose::yes, shape.inner(), heads, dim, shape.scale(), w_kd, dim, u_hd,
       dim, 0.0F, scores_kh, heads);
  gemm(Transpose::no, Transpose::yes, shape.inner(), shape.width(), dim, 1.0F, w_kd, dim,
       attention.v_weight_ad, dim, 0.0F, state.folded_values, shape.width());

  score_blocks(state.weights, scores_kh, patches, shape);
  exponentiate_blocks(state.weights, max_rh, sum_rh, shape);
}

void fused_channel_mix(float* out_ra, const FusedAttentionState& state, const float* factor_rh,
                       const ChannelPatchesView& patches,
                       const ChannelAttentionWeights& attention) {
  const Shape shape(patches, attention);
  const std::int64_t heads = shape.heads, head_dim = shape.head_dim, width = shape.width();
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
        for (std::int64_t i = 0; i < shape.channel_blocks(); ++i) {
          const Channels channels(shape, i);
          load_patch_tile(x_kr, patches, block, channels.begin, channels.end, /*extended=*/true);
          for (std::int64_t h = first_head; h < last_head; ++h) {
            float* a_cr = state.weights + shape.weight_at(block, h, channels.begin);
            scale_weights(a_cr, factor_rh + block * kPositions * heads + h, heads, positions,
                          channels.count());
            weight_patches(y_kr, a_cr, x_kr, channels.count(), shape.extended());
            add_tile_product(
                out_ar + (h - first_head) * head_dim * kPositions, y_kr,
                state.folded_values + channels.begin * shape.extended() * width + h * head_dim,
                width, channels.count() * shape.extended(), head_dim, /*overwrite=*/i == 0);
          }
        }
        transpose_from_positions(out_ra + block * kPositions * width + first_head * head_dim, width,
                                 out_ar, positions, (last_head - first_head) * head_dim);
      });
}

void fused_channel_attention_backward(const ChannelAttentionGradients& d_attention,
                                      const TokenGradients& d_tokens, const float* dout_ra,
                                      const float* out_ra, const ChannelPatchesView& patches,
                                      const TokenWeights& tokens,
                                      const ChannelAttentionWeights& attention,
                                      const FusedAttentionState& state, float* workspace) {
  const Shape shape(patches, attention);
  if (shape.is_empty()) return;
  const std::int64_t heads = shape.heads, width = shape.width(), inner = shape.inner();
  const std::int64_t dim = tokens.dim;
  float* const w_kd = workspace;
  float* const d_values_ka = w_kd + inner * dim;
  float* const d_scores_kh = d_values_ka + inner * width;
  float* const u_hd = d_scores_kh + inner * heads;
  float* const du_hd = u_hd + heads * dim;
  float* const delta = du_hd + heads * dim;
  float* const dout_ar = delta + shape.position_blocks() * kPositions * heads;

  output_dots(delta, dout_ra, out_ra, shape);
  transpose_outputs(dout_ar, dout_ra, shape);
  folded_gradients(d_values_ka, d_scores_kh, delta, dout_ra, dout_ar, patches, shape, state);

  fold_tokens(w_kd, shape, tokens);
  fold_query(u_hd, attention, dim);
  gemm(Transpose::yes, Transpose::no, width, dim, inner, 1.0F, d_values_ka, width, w_kd, dim, 1.0F,
       d_attention.dv_weight_ad, dim);
  gemm(Transpose::yes, Transpose::no, heads, dim, inner, shape.scale(), d_scores_kh, heads, w_kd,
       dim, 0.0F, du_hd, dim);
  unfold_query_gradient(d_attention, du_hd, attention, dim);
  float* const dw_kd = w_kd;  // the weights themselves are no longer needed
  gemm(Transpose::no, Transpose::no, inner, dim, width, 1.0F, d_values_ka, width,
       attention.v_weight_ad, dim, 0.0F, dw_kd, dim);
  gemm(Transpose::no, Transpose::no, inner, dim, heads, shape.scale(), d_scores_kh, heads, u_hd,
       dim, 1.0F, dw_kd, dim);
  unfold_token_gradients(d_tokens, dw_kd, shape, dim);
}

}  // namespace trib::ops
