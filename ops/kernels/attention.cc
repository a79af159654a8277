#include "ops/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/attention/attention_block.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/thread_scratch.h"

namespace trib::ops {
namespace {

// Work a task of many heads gets at least, and what a head costs beside its arithmetic.
constexpr std::int64_t kTaskFlops = std::int64_t{1} << 20;
constexpr std::int64_t kHeadFlops = std::int64_t{1} << 16;
// Fewer heads than this are cut along the queries.
constexpr std::int64_t kFewHeads = 16;
// A task packs the keys and values of its head for at most so many queries.
constexpr std::int64_t kForwardQueries = 256;

struct Shape {
  std::int64_t batch, tokens, heads, head_dim;

  std::int64_t all_heads() const { return batch * heads; }
  std::int64_t out_ld() const { return heads * head_dim; }
  std::int64_t qkv_ld() const { return 3 * heads * head_dim; }
  // First element of token 0 of a head.
  std::int64_t out_at(std::int64_t head) const {
    return head / heads * tokens * out_ld() + head % heads * head_dim;
  }
  std::int64_t qkv_at(std::int64_t head) const {
    return head / heads * tokens * qkv_ld() + head % heads * head_dim;
  }
  std::int64_t lse_at(std::int64_t head) const { return head * tokens; }
  // Of one product of all queries and keys.
  std::int64_t flops() const { return 2 * all_heads() * tokens * tokens * head_dim; }
  std::int64_t numbers() const { return all_heads() * tokens * head_dim; }
  // Heads a task takes if none is cut, for `products` products.
  std::int64_t grain(std::int64_t products) const {
    return kTaskFlops / (products * flops() / all_heads() + kHeadFlops);
  }
};

// Parts that the queries of each head are cut into, whole blocks all but the last. From the shape
// alone, never from the number of threads.
struct QueryParts {
  std::int64_t count, queries;

  QueryParts(const Shape& shape, std::int64_t most_queries) {
    const std::int64_t blocks = (shape.tokens + kAttentionQueries - 1) / kAttentionQueries;
    const std::int64_t wanted = std::max((shape.tokens + most_queries - 1) / most_queries,
                                         (kFewHeads + shape.all_heads() - 1) / shape.all_heads());
    const std::int64_t part_blocks = std::max<std::int64_t>(blocks / std::min(wanted, blocks), 1);
    queries = part_blocks * kAttentionQueries;
    count = (blocks + part_blocks - 1) / part_blocks;
  }
};

AttentionTask task_of(const Shape& shape, ConstFloatPtr qkv, std::int64_t head,
                      std::int64_t q_begin, std::int64_t q_end) {
  const ConstFloatPtr q = qkv + shape.qkv_at(head);
  return {.q = q,
          .k = q + shape.out_ld(),
          .v = q + 2 * shape.out_ld(),
          .qkv_ld = shape.qkv_ld(),
          .out_ld = shape.out_ld(),
          .tokens = shape.tokens,
          .head_dim = shape.head_dim,
          .q_begin = q_begin,
          .q_end = std::min(q_end, shape.tokens)};
}

// Gradients of the keys and values [begin, end) of one head; the sums of each part are dk, then dv.
void store_key_gradients(const AttentionBlocks& blocks, const Shape& shape, FloatPtr dq,
                         float* sums, std::int64_t parts, std::int64_t begin, std::int64_t end) {
  const std::int64_t row = attention_row(shape.head_dim), plane = shape.tokens * row;
  const FloatPtr dk = dq + shape.out_ld() + begin * shape.qkv_ld();
  const FloatPtr dv = dk + shape.out_ld();
  const float scale = 1.0F / std::sqrt(static_cast<float>(shape.head_dim));
  blocks.store_sums(dk, shape.qkv_ld(), sums + begin * row, parts, 2 * plane, end - begin,
                    shape.head_dim, scale);
  blocks.store_sums(dv, shape.qkv_ld(), sums + plane + begin * row, parts, 2 * plane, end - begin,
                    shape.head_dim, 1.0F);
}

}  // namespace

void attention_forward(FloatPtr out_bnhd, float* lse_bhn, ConstFloatPtr qkv_bn3hd,
                       std::int64_t batch, std::int64_t tokens, std::int64_t heads,
                       std::int64_t head_dim) {
  const Shape shape{batch, tokens, heads, head_dim};
  if (shape.all_heads() * tokens == 0) return;
  const KernelScope scope(
      "attention_forward", {batch, tokens, heads, head_dim}, static_cast<double>(2 * shape.flops()),
      static_cast<double>(4 * shape.numbers()) * static_cast<double>(qkv_bn3hd.element_bytes()));
  add_gemm_flops(2 * shape.flops());
  const AttentionBlocks& blocks = attention_blocks(qkv_bn3hd.dtype()).front();
  const QueryParts parts(shape, kForwardQueries);
  parallel_for(
      shape.all_heads() * parts.count, shape.grain(2), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t head = i / parts.count;
          const std::int64_t q0 = i % parts.count * parts.queries;
          const AttentionTask task = task_of(shape, qkv_bn3hd, head, q0, q0 + parts.queries);
          blocks.forward(out_bnhd + shape.out_at(head), lse_bhn + shape.lse_at(head), task,
                         thread_scratch(attention_forward_scratch(task)));
        }
      });
}

void attention_backward(FloatPtr dqkv_bn3hd, ConstFloatPtr dout_bnhd, ConstFloatPtr qkv_bn3hd,
                        ConstFloatPtr out_bnhd, const float* lse_bhn, std::int64_t batch,
                        std::int64_t tokens, std::int64_t heads, std::int64_t head_dim) {
  const Shape shape{batch, tokens, heads, head_dim};
  if (shape.all_heads() * tokens == 0) return;
  const KernelScope scope(
      "attention_backward", {batch, tokens, heads, head_dim},
      static_cast<double>(5 * shape.flops()),
      static_cast<double>(8 * shape.numbers()) * static_cast<double>(qkv_bn3hd.element_bytes()));
  add_gemm_flops(5 * shape.flops());
  const AttentionBlocks& blocks = attention_blocks(qkv_bn3hd.dtype()).front();
  const QueryParts parts(shape, tokens);
  const std::int64_t plane = tokens * attention_row(head_dim);
  const ScratchScope kept(parts.count > 1 ? 2 * plane * parts.count * shape.all_heads() : 0);
  float* const part_sums = kept.data();

  parallel_for(
      shape.all_heads() * parts.count, shape.grain(5), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t head = i / parts.count, q0 = i % parts.count * parts.queries;
          const AttentionTask task = task_of(shape, qkv_bn3hd, head, q0, q0 + parts.queries);
          const FloatPtr dq = dqkv_bn3hd + shape.qkv_at(head);
          const std::int64_t own_sums = parts.count > 1 ? 0 : 2 * plane;
          float* const scratch = thread_scratch(own_sums + attention_backward_scratch(task));
          float* const sums = parts.count > 1 ? part_sums + 2 * plane * i : scratch;
          blocks.backward({.dout = dout_bnhd + shape.out_at(head),
                           .out = out_bnhd + shape.out_at(head),
                           .lse = lse_bhn + shape.lse_at(head),
                           .dq = dq,
                           .dk_sums = sums,
                           .dv_sums = sums + plane},
                          task, scratch + own_sums);
          if (parts.count == 1) store_key_gradients(blocks, shape, dq, sums, 1, 0, tokens);
        }
      });
  if (parts.count == 1) return;
  const std::int64_t slices = (tokens + kAttentionQueries - 1) / kAttentionQueries;
  parallel_for(shape.all_heads() * slices, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t head = i / slices, n0 = i % slices * kAttentionQueries;
      store_key_gradients(blocks, shape, dqkv_bn3hd + shape.qkv_at(head),
                          part_sums + 2 * plane * parts.count * head, parts.count, n0,
                          std::min(n0 + kAttentionQueries, tokens));
    }
  });
}

}  // namespace trib::ops
