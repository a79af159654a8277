// What the forward and the backward of fused_channel_attention have in common. Private to
// ops/kernels.
//
// Positions are taken in blocks and lie fastest in memory there (see patch_tile.h), so that scores,
// softmax and mix are vectors over positions, whatever the patch size. A pixel of an extended patch
// is called k: k = c * P' + p.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "ops/base/parallel.h"
#include "ops/kernels/channels/patch_tile.h"
#include "ops/kernels/fused_channel_attention.h"

namespace trib::ops::fused_attention {

// Extended pixels (of whole channels) taken at a time: a tile of them stays in the first cache.
inline constexpr std::int64_t kInner = 96;
// Heads are shared out between tasks only if there are fewer tasks than this without: each task
// gathers the patches for itself.
inline constexpr std::int64_t kMinTasks = 8;

// Extended pixels whose weights are folded at a time.
inline constexpr std::int64_t kChunk = 2048;

inline std::int64_t chunk_channels(std::int64_t channels, std::int64_t pixels) {
  return std::min(channels, std::max<std::int64_t>(kChunk / (pixels + 1), 1));
}

// Whole cache lines, so that vectors of a row lie in one.
inline std::int64_t folded_stride_of(std::int64_t heads, std::int64_t head_dim) {
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
  if (items == 0 || heads == 0) return;
  const std::int64_t groups = std::min(heads, blocks_of(kMinTasks, items));
  parallel_for(items * groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t group = i % groups;
      body(i / groups, group * heads / groups, (group + 1) * heads / groups);
    }
  });
}

/// w_kd, token weights of some channels as rows over features: the transposed W_c, then g_c.
void fold_tokens(float* w_kd, const Channels& channels, std::int64_t pixels,
                 const TokenWeights& tokens);

/// What tokens are multiplied by, as rows over their features: W_v, then kappa u_h = kappa W_k^h^T
/// q_h of every head. One product has values and score weights then.
void fold_attention(float* vu_fd, const ChannelAttentionWeights& attention, const Shape& shape,
                    std::int64_t dim);

/// y_kr = a_cr x_kr
void weight_patches(float* y_kr, const float* a_cr, const float* x_kr, std::int64_t channels,
                    std::int64_t extended);

}  // namespace trib::ops::fused_attention
