#include <algorithm>
#include <array>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/channels/folded_weights.h"
#include "ops/kernels/channels/fused_channel_shape.h"
#include "ops/kernels/channels/patch_tile.h"
#include "ops/kernels/fused_channel_attention.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/thread_scratch.h"
#include "ops/kernels/vector/float_vector.h"
#include "ops/kernels/vector/vector_math.h"

namespace trib::ops {
namespace {

using namespace fused_attention;

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
    simd::Vector sum = simd::load(sums);
    for (std::int64_t r = 0; r < kPositions; r += simd::kLanes) {
      sum += simd::load(ds_r + r) * simd::load(x + r);
    }
    simd::store(sums, sum);
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
        const std::int64_t lanes = (last_head - first_head) * simd::kLanes;  // of a pixel
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
              add_score_gradient(
                  d_scores_khl + c * extended * lanes + (h - first_head) * simd::kLanes, lanes,
                  ds.data(), x, extended);
            }
          }
        }
        for (std::int64_t k = 0; k < inner; ++k) {
          for (std::int64_t h = first_head; h < last_head; ++h) {
            const float* sums = d_scores_khl + k * lanes + (h - first_head) * simd::kLanes;
            float sum = 0;
            for (std::int64_t l = 0; l < simd::kLanes; ++l) sum += sums[l];
            d_folded[k * stride + width + h] = sum;
          }
        }
      });
}

}  // namespace

std::int64_t fused_channel_attention_backward_workspace(std::int64_t rows, std::int64_t channels,
                                                        std::int64_t pixels, std::int64_t dim,
                                                        std::int64_t heads, std::int64_t head_dim) {
  const std::int64_t folded = heads * (head_dim + 1);
  return chunk_channels(channels, pixels) * (pixels + 1) *
             (dim + folded_stride_of(heads, head_dim)) +
         2 * folded * dim + blocks_of(rows, kPositions) * kPositions * folded;
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
  const KernelScope scope(
      "fused_channel_attention_backward", {shape.rows, shape.channels, shape.pixels, dim},
      2.0 * static_cast<double>(shape.inner()) *
          static_cast<double>(shape.rows * (2 * shape.width() + shape.heads) + 2 * dim * folded),
      4.0 *
          static_cast<double>(shape.rows * shape.channels * (shape.pixels + shape.heads) +
                              2 * shape.rows * shape.width() + shape.inner() * (folded + 3 * dim)));
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
