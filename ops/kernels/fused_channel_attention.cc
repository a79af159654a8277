#include "ops/kernels/fused_channel_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/base/parallel.h"
#include "ops/kernels/folded_weights.h"
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
constexpr std::int64_t kInner = 96;
// Heads are shared out between tasks only if there are fewer tasks than this without: each task
// gathers the patches for itself.
constexpr std::int64_t kMinTasks = 8;

// Extended pixels whose weights are folded at a time.
constexpr std::int64_t kChunk = 2048;

std::int64_t chunk_channels(std::int64_t channels, std::int64_t pixels) {
  return std::min(channels, std::max<std::int64_t>(kChunk / (pixels + 1), 1));
}

// Whole cache lines, so that vectors of a row lie in one.
std::int64_t folded_stride_of(std::int64_t heads, std::int64_t head_dim) {
  return blocks_of(heads * (head_dim + 1), 16) * 16;
}

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
  // Columns of a row of folded values and score weights, and floats from row to row.
  std::int64_t folded() const { return width() + heads; }
  std::int64_t folded_stride() const { return folded_stride_of(heads, head_dim); }
  std::int64_t largest_block() const { return std::max<std::int64_t>(kInner / extended(), 1); }
  // Floats of the largest block of channels of a block of positions, extended.
  std::int64_t tile() const {
    return std::min(channels, largest_block()) * extended() * kPositions;
  }
  // First weight of a channel.
  std::int64_t weight_at(std::int64_t block, std::int64_t h, std::int64_t c) const {
    return ((block * heads + h) * channels + c) * kPositions;
  }
};

// Some channels of a shape, in blocks of nearly the same size.
struct Channels {
  std::int64_t begin, end;

  std::int64_t count() const { return end - begin; }
  std::int64_t blocks(const Shape& shape) const {
    return blocks_of(count(), shape.largest_block());
  }
  Channels block(const Shape& shape, std::int64_t number) const {
    const std::int64_t all = blocks(shape);
    return {begin + number * count() / all, begin + (number + 1) * count() / all};
  }
};

// Call body(channels) for all channels, so many at a time that their folded weights and gradients
// stay in the last cache, whatever the number of channels.
template <class Body>
void for_chunks(const Shape& shape, const Body& body) {
  const std::int64_t largest = chunk_channels(shape.channels, shape.pixels);
  for (std::int64_t begin = 0; begin < shape.channels; begin += largest) {
    body(Channels{begin, std::min(begin + largest, shape.channels)});
  }
}

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

// Token weights of some channels as rows over features, w_kd: the transposed W_c, then g_c.
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

void unfold_token_gradients(const TokenGradients& d_tokens, const float* dw_kd,
                            const Channels& channels, std::int64_t pixels, std::int64_t dim) {
  parallel_for(channels.count(), row_grain(pixels * dim),
               [=](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t c = channels.begin + i;
                   const float* from = dw_kd + i * (pixels + 1) * dim;
                   unfold_channel(d_tokens.d_weights_cdp + c * dim * pixels, from, pixels, dim);
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

// What tokens are multiplied by, as rows over their features: W_v, then kappa u_h = kappa W_k^h^T
// q_h of every head. One product has values and score weights then.
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

void unfold_attention_gradient(const ChannelAttentionGradients& d_attention, const float* dvu_fd,
                               const ChannelAttentionWeights& attention, const Shape& shape,
                               std::int64_t dim) {
  const std::int64_t head_dim = shape.head_dim, width = shape.width();
  const float* const du_hd = dvu_fd + width * dim;
  const float scale = shape.scale();
  parallel_for(width, row_grain(3 * dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t a = begin; a < end; ++a) {
      const float *key = attention.k_weight_ad + a * dim, *dv = dvu_fd + a * dim;
      const float* du = du_hd + a / head_dim * dim;
      float* d_key = d_attention.dk_weight_ad + a * dim;
      float* d_value = d_attention.dv_weight_ad + a * dim;
      const float q = scale * attention.q_a[a];
#pragma omp simd
      for (std::int64_t d = 0; d < dim; ++d) {
        d_key[d] += q * du[d];
        d_value[d] += dv[d];
      }
      d_attention.dq_a[a] += scale * dot(key, du, dim);
    }
  });
}

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

// Gradients of the folded values and score weights of some channels, d_folded_kf. A task has some
// of the channels, and maybe some heads, of all positions: nothing is shared.
void folded_gradients(float* d_folded_kf, const Channels& chunk, const float* delta,
                      const float* dout_ra, const float* dout_ar, const ChannelPatchesView& patches,
                      const Shape& shape, const FusedAttentionState& state) {
  const std::int64_t extended = shape.extended(), width = shape.width(),
                     stride = shape.folded_stride();
  const std::int64_t heads = shape.heads, head_dim = shape.head_dim;
  for_items_and_heads(
      chunk.blocks(shape), heads,
      [&](std::int64_t channel_block, std::int64_t first_head, std::int64_t last_head) {
        const Channels channels = chunk.block(shape, channel_block);
        const std::int64_t inner = channels.count() * extended;
        const std::int64_t lanes = (last_head - first_head) * kLanes;  // of a pixel
        float* const x_kr = thread_scratch(2 * shape.tile() + inner * lanes);
        float* const y_kr = x_kr + shape.tile();
        float* const d_scores_khl = y_kr + shape.tile();
        float* const d_folded = d_folded_kf + (channels.begin - chunk.begin) * extended * stride;
        std::fill_n(d_scores_khl, inner * lanes, 0.0F);
        for (std::int64_t block = 0; block < shape.position_blocks(); ++block) {
          load_patch_tile(x_kr, patches, block, channels.begin, channels.end, /*extended=*/true);
          for (std::int64_t h = first_head; h < last_head; ++h) {
            const float* a_cr = state.weights + shape.weight_at(block, h, channels.begin);
            const float* delta_r = delta + (block * heads + h) * kPositions;
            weight_patches(y_kr, a_cr, x_kr, channels.count(), extended);
            add_tile_gradient(d_folded + h * head_dim, stride, y_kr,
                              dout_ra + block * kPositions * width + h * head_dim, width,
                              shape.positions(block), inner, head_dim, /*overwrite=*/block == 0);
            for (std::int64_t c = 0; c < channels.count(); ++c) {
              const float *a_r = a_cr + c * kPositions, *x = x_kr + c * extended * kPositions;
              const std::int64_t at = (channels.begin + c) * extended * stride + h * head_dim;
              alignas(64) PerPosition ds;
              correlate_tile(ds.data(), x, state.folded + at, stride,
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
          for (std::int64_t h = first_head; h < last_head; ++h) {
            const float* sums = d_scores_khl + k * lanes + (h - first_head) * kLanes;
            float sum = 0;
            for (std::int64_t l = 0; l < kLanes; ++l) sum += sums[l];
            d_folded[k * stride + width + h] = sum;
          }
        }
      });
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

std::int64_t fused_channel_attention_backward_workspace(std::int64_t rows, std::int64_t channels,
                                                        std::int64_t pixels, std::int64_t dim,
                                                        std::int64_t heads, std::int64_t head_dim) {
  const std::int64_t folded = heads * (head_dim + 1);
  return chunk_channels(channels, pixels) * (pixels + 1) *
             (dim + folded_stride_of(heads, head_dim)) +
         2 * folded * dim + blocks_of(rows, kPositions) * kPositions * folded;
}

void fused_channel_scores(const FusedAttentionState& state, float* max_rh, float* sum_rh,
                          const ChannelPatchesView& patches, const TokenWeights& tokens,
                          const ChannelAttentionWeights& attention, float* workspace) {
  const Shape shape(patches, attention);
  const std::int64_t dim = tokens.dim, folded = shape.folded(), stride = shape.folded_stride();
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

void fused_channel_attention_backward(const ChannelAttentionGradients& d_attention,
                                      const TokenGradients& d_tokens, const float* dout_ra,
                                      const float* out_ra, const ChannelPatchesView& patches,
                                      const TokenWeights& tokens,
                                      const ChannelAttentionWeights& attention,
                                      const FusedAttentionState& state, float* workspace) {
  const Shape shape(patches, attention);
  if (shape.is_empty()) return;
  const std::int64_t dim = tokens.dim, folded = shape.folded(), stride = shape.folded_stride();
  const std::int64_t positions = shape.position_blocks() * kPositions;
  float* const vu_fd = workspace;
  float* const dvu_fd = vu_fd + folded * dim;
  float* const delta = dvu_fd + folded * dim;
  float* const dout_ar = delta + positions * shape.heads;
  float* const d_folded_kf = dout_ar + positions * shape.width();
  float* const w_kd =
      d_folded_kf + chunk_channels(shape.channels, shape.pixels) * shape.extended() * stride;

  output_dots(delta, dout_ra, out_ra, shape);
  transpose_outputs(dout_ar, dout_ra, shape);
  fold_attention(vu_fd, attention, shape, dim);
  for_chunks(shape, [&](const Channels& chunk) {
    const std::int64_t inner = chunk.count() * shape.extended();
    folded_gradients(d_folded_kf, chunk, delta, dout_ra, dout_ar, patches, shape, state);
    fold_tokens(w_kd, chunk, shape.pixels, tokens);
    gemm(Transpose::yes, Transpose::no, folded, dim, inner, 1.0F, d_folded_kf, stride, w_kd, dim,
         chunk.begin == 0 ? 0.0F : 1.0F, dvu_fd, dim);
    float* const dw_kd = w_kd;  // the weights themselves are no longer needed
    gemm(Transpose::no, Transpose::no, inner, dim, folded, 1.0F, d_folded_kf, stride, vu_fd, dim,
         0.0F, dw_kd, dim);
    unfold_token_gradients(d_tokens, dw_kd, chunk, shape.pixels, dim);
  });
  unfold_attention_gradient(d_attention, dvu_fd, attention, shape, dim);
}

}  // namespace trib::ops
