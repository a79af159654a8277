#include "ops/kernels/fused_channel_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/base/parallel.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/known_extent.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/thread_scratch.h"
#include "ops/kernels/vector_math.h"

// Positions are taken in blocks and lie fastest in memory there, so that scores, softmax and mix
// are vectors over positions, whatever the patch size. A pixel of an extended patch is called k:
// k = c * P' + p.

namespace trib::ops {
namespace {

constexpr std::int64_t kPositions = 64;
// Extended pixels (of whole channels) taken at a time: the inner axis of the products that mix.
constexpr std::int64_t kInner = 256;
// Heads are shared out between tasks only if there are fewer tasks than this without.
constexpr std::int64_t kMinTasks = 16;

using PerPosition = std::array<float, kPositions>;

std::int64_t blocks_of(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}

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
  std::int64_t channel_block() const {
    return std::max<std::int64_t>(std::min(channels, kInner / extended()), 1);
  }
  std::int64_t channel_blocks() const { return blocks_of(channels, channel_block()); }
  // Floats of a block of channels of a block of positions, extended.
  std::int64_t tile() const { return channel_block() * extended() * kPositions; }
  // First weight of a channel.
  std::int64_t weight_at(std::int64_t block, std::int64_t h, std::int64_t c) const {
    return ((block * heads + h) * channels + c) * kPositions;
  }
};

// Channels [begin, end) of a shape.
struct Channels {
  std::int64_t begin, end;

  Channels(const Shape& shape, std::int64_t block)
      : begin(block * shape.channel_block()),
        end(std::min(begin + shape.channel_block(), shape.channels)) {}
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

// Rows of a patch that are transposed together: whole patches take a whole number of times.
std::int64_t rows_of_tile(const ChannelPatchesView& patches, std::int64_t edge) {
  std::int64_t rows = std::clamp<std::int64_t>(edge / patches.width, 1, patches.height);
  while (patches.height % rows != 0) --rows;
  return rows;
}

// x_kr of some channels of a block of positions: gathered from the images, extended, positions
// beyond the last row zero but for the added pixel.
void load_patches(float* x_kr, const ChannelPatchesView& patches, std::int64_t block,
                  const Channels& channels) {
  constexpr std::int64_t kEdge = 16;  // a cache line
  const std::int64_t* offsets = patches.row_offsets + block * kPositions;
  const std::int64_t positions = std::min(kPositions, patches.rows - block * kPositions);
  const std::int64_t tile_rows = rows_of_tile(patches, kEdge);
  const auto load = [&](auto width) {
    float* to = x_kr;
    for (std::int64_t c = channels.begin; c < channels.end; ++c) {
      const float* channel = patches.x + c * patches.channel_stride;
      for (std::int64_t y0 = 0; y0 < patches.height; y0 += tile_rows) {
        // Wider patches than a tile go in pieces of a row.
        for (std::int64_t x0 = 0; x0 < width; x0 += kEdge) {
          const std::int64_t run = std::min<std::int64_t>(width - x0, kEdge);
          for (std::int64_t r0 = 0; r0 < kPositions; r0 += kEdge) {
            alignas(64) float tile[kEdge][kEdge] = {};
            for (std::int64_t r = 0; r < std::min(kEdge, positions - r0); ++r) {
              const float* from = channel + offsets[r0 + r] + y0 * patches.pitch + x0;
              float* row = tile[r];
              for (std::int64_t y = 0; y < tile_rows; ++y) {
                for (std::int64_t p = 0; p < run; ++p) row[p] = from[p] == from[p] ? from[p] : 0.0F;
                row += run;
                from += patches.pitch;
              }
            }
            for (std::int64_t i = 0; i < tile_rows * run; ++i) {
              for (std::int64_t r = 0; r < kEdge; ++r) to[i * kPositions + r0 + r] = tile[r][i];
            }
          }
          to += tile_rows * run * kPositions;
        }
      }
      std::fill_n(to, kPositions, 1.0F);
      to += kPositions;
    }
  };
  with_known_extent<2, 4, 8, 16>(patches.width, load);
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

// score_r = sum_p weight_p x_pr, the weights `stride` apart.
void score_channel(float* score_r, const float* weights, std::int64_t stride, const float* x_pr,
                   std::int64_t extended) {
  PerPosition sum{};
  for (std::int64_t p = 0; p < extended; ++p) {
    const float weight = weights[p * stride];
#pragma omp simd
    for (std::size_t r = 0; r < kPositions; ++r) {
      sum[r] += weight * x_pr[p * kPositions + static_cast<std::int64_t>(r)];
    }
  }
  std::copy(sum.begin(), sum.end(), score_r);
}

// Scores of all heads, in the layout of the weights.
void score_blocks(float* weights, const float* scores_kh, const ChannelPatchesView& patches,
                  const Shape& shape) {
  const std::int64_t channel_blocks = shape.channel_blocks(), extended = shape.extended();
  const auto score_block = [&](std::int64_t block, const Channels& channels, float* x_kr) {
    load_patches(x_kr, patches, block, channels);
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      for (std::int64_t c = channels.begin; c < channels.end; ++c) {
        score_channel(weights + shape.weight_at(block, h, c),
                      scores_kh + c * extended * shape.heads + h, shape.heads,
                      x_kr + (c - channels.begin) * extended * kPositions, extended);
      }
    }
  };
  parallel_for(shape.position_blocks() * channel_blocks, 1,
               [&](std::int64_t begin, std::int64_t end) {
                 float* const x_kr = thread_scratch(shape.tile());
                 for (std::int64_t i = begin; i < end; ++i) {
                   score_block(i / channel_blocks, Channels(shape, i % channel_blocks), x_kr);
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

// From the gradient dy of the weighted patches of one channel through the softmax to that of the
// score weights, which are `stride` apart and added to.
void add_score_gradient(float* d_weights, std::int64_t stride, const float* dy_pr,
                        const float* x_pr, const float* a_r, const float* delta_r,
                        std::int64_t extended) {
  PerPosition ds{};
  for (std::int64_t p = 0; p < extended; ++p) {
    const float *dy = dy_pr + p * kPositions, *x = x_pr + p * kPositions;
#pragma omp simd
    for (std::size_t r = 0; r < kPositions; ++r) ds[r] += dy[r] * x[r];
  }
#pragma omp simd
  for (std::size_t r = 0; r < kPositions; ++r) ds[r] = a_r[r] * (ds[r] - delta_r[r]);
  for (std::int64_t p = 0; p < extended; ++p) {
    d_weights[p * stride] += dot(ds.data(), x_pr + p * kPositions, kPositions);
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

// Gradients of the folded values and of the score weights, d_values_ka and d_scores_kh. A task has
// some channels, and maybe some heads, of all positions: nothing is shared.
void folded_gradients(float* d_values_ka, float* d_scores_kh, const float* delta,
                      const float* dout_ra, const ChannelPatchesView& patches, const Shape& shape,
                      const FusedAttentionState& state) {
  const std::int64_t extended = shape.extended(), width = shape.width();
  const std::int64_t heads = shape.heads, head_dim = shape.head_dim;
  std::fill_n(d_scores_kh, shape.inner() * heads, 0.0F);
  for_items_and_heads(
      shape.channel_blocks(), heads,
      [&](std::int64_t channel_block, std::int64_t first_head, std::int64_t last_head) {
        const Channels channels(shape, channel_block);
        const std::int64_t count = channels.end - channels.begin;
        const std::int64_t k0 = channels.begin * extended, inner = count * extended;
        float* const x_kr = thread_scratch(3 * shape.tile());
        float* const y_kr = x_kr + shape.tile();
        float* const dy_kr = y_kr + shape.tile();
        for (std::int64_t block = 0; block < shape.position_blocks(); ++block) {
          const std::int64_t positions = shape.positions(block);
          load_patches(x_kr, patches, block, channels);
          if (positions < kPositions) std::fill_n(dy_kr, inner * kPositions, 0.0F);
          for (std::int64_t h = first_head; h < last_head; ++h) {
            const float* a_cr = state.weights + shape.weight_at(block, h, channels.begin);
            const float* dout = dout_ra + block * kPositions * width + h * head_dim;
            const std::int64_t at = k0 * width + h * head_dim;
            weight_patches(y_kr, a_cr, x_kr, count, extended);
            gemm_serial(Transpose::no, Transpose::no, inner, head_dim, positions, 1.0F, y_kr,
                        kPositions, dout, width, block == 0 ? 0.0F : 1.0F, d_values_ka + at, width);
            gemm_serial(Transpose::no, Transpose::yes, inner, positions, head_dim, 1.0F,
                        state.folded_values + at, width, dout, width, 0.0F, dy_kr, kPositions);
            for (std::int64_t c = 0; c < count; ++c) {
              const std::int64_t tile_at = c * extended * kPositions;
              add_score_gradient(d_scores_kh + (k0 + c * extended) * heads + h, heads,
                                 dy_kr + tile_at, x_kr + tile_at, a_cr + c * kPositions,
                                 delta + (block * heads + h) * kPositions, extended);
            }
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
         blocks_of(rows, kPositions) * kPositions * heads;
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
        float* const x_kr = thread_scratch(2 * shape.tile());
        float* const y_kr = x_kr + shape.tile();
        for (std::int64_t i = 0; i < shape.channel_blocks(); ++i) {
          const Channels channels(shape, i);
          const std::int64_t count = channels.end - channels.begin;
          load_patches(x_kr, patches, block, channels);
          for (std::int64_t h = first_head; h < last_head; ++h) {
            float* a_cr = state.weights + shape.weight_at(block, h, channels.begin);
            scale_weights(a_cr, factor_rh + block * kPositions * heads + h, heads, positions,
                          count);
            weight_patches(y_kr, a_cr, x_kr, count, shape.extended());
            gemm_serial(
                Transpose::yes, Transpose::no, positions, head_dim, count * shape.extended(), 1.0F,
                y_kr, kPositions,
                state.folded_values + channels.begin * shape.extended() * width + h * head_dim,
                width, i == 0 ? 0.0F : 1.0F, out_ra + block * kPositions * width + h * head_dim,
                width);
          }
        }
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

  output_dots(delta, dout_ra, out_ra, shape);
  folded_gradients(d_values_ka, d_scores_kh, delta, dout_ra, patches, shape, state);

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
