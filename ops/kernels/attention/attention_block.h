// Attention of one head, a block of queries at a time, on the calling thread. Private to
// ops/kernels.
#pragma once

#include <cstdint>
#include <span>

#include "ops/base/float_ptr.h"

namespace trib::ops {

/// Queries [q_begin, q_end) of one head against all its keys. Pointers are to token 0 of the head;
/// token n follows n * ld elements on.
struct AttentionTask {
  ConstFloatPtr q, k, v;
  std::int64_t qkv_ld, out_ld;
  std::int64_t tokens, head_dim, q_begin, q_end;
};

/// dk_sums and dv_sums, both [tokens, attention_row(head_dim)], get what these queries add to the
/// gradients of the head's keys (not yet scaled by head_dim^-1/2) and values.
struct AttentionGradient {
  ConstFloatPtr dout, out;
  const float* lse;
  FloatPtr dq;
  float *dk_sums, *dv_sums;
};

/// The queries that are worked on at once: keys and values are read once for so many.
inline constexpr std::int64_t kAttentionQueries = 64;

/// Rows of scratch matrices are filled up to a whole number of the longest vectors.
inline std::int64_t attention_row(std::int64_t count) {
  return (count + 15) / 16 * 16;
}

/// Floats of scratch memory that the functions below need.
std::int64_t attention_forward_scratch(const AttentionTask& task);
std::int64_t attention_backward_scratch(const AttentionTask& task);

/// Functions compiled for one instruction set.
struct AttentionBlocks {
  const char* name;
  void (*forward)(FloatPtr out, float* lse, const AttentionTask& task, float* scratch);
  void (*backward)(const AttentionGradient& gradient, const AttentionTask& task, float* scratch);
  /// Rows of dim numbers get `factor` times the sum of `parts` arrays [rows, attention_row(dim)],
  /// taken in order; the first of them becomes the sum.
  void (*store_sums)(FloatPtr to, std::int64_t ld, float* sums, std::int64_t parts,
                     std::int64_t part_stride, std::int64_t rows, std::int64_t dim, float factor);
};

/// Those that this processor can run for numbers of a type, best first.
std::span<const AttentionBlocks> attention_blocks(DType dtype);

}  // namespace trib::ops
