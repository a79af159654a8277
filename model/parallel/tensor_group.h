// The ranks that share the channels, the attention heads and the MLPs of one model, and the
// collectives between them as differentiable pairs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/base/float_ptr.h"
#include "ops/base/split.h"

namespace trib::ops {
class Communicator;
}

namespace trib::model {

/// The tensor axis as a model sees it.
///
/// Activations that all ranks compute alike are called replicated; the gradient of a replicated
/// tensor is complete and the same on every rank. Between replicated and split tensors stand the
/// pairs of Megatron-LM (core/tensor_parallel/mappings.py). What the forward pass does to values,
/// and the backward pass to gradients:
///
/// | pair                     | forward             | backward            |
/// |--------------------------|---------------------|---------------------|
/// | copy (f)                 | nothing             | all_reduce          |
/// | reduce (g)               | all_reduce          | nothing             |
/// | gather, replicated after | all_gather_*        | own slice, no call  |
/// | gather, partial after    | all_gather_*        | reduce_scatter_*    |
/// | scatter                  | own slice, no call  | all_gather_*        |
/// | reduce-scatter           | reduce_scatter_rows | all_gather_rows     |
///
/// "partial after": ranks go on to compute different things from what was gathered, so that each
/// has a part of the gradient. All calls block; in a group of one they do nothing and cost nothing.
class TensorGroup {
 public:
  explicit TensorGroup(int rank = 0, int size = 1) : rank_(rank), size_(size) {}

  /// Give the group its line to the other ranks: needed before the first collective, not to plan a
  /// model. Throws RuntimeError if rank or size is another than that of the tensor axis.
  void connect(ops::Communicator& communicator);

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_alone() const { return size_ == 1; }
  /// This rank's part of something divided evenly.
  Range own(std::int64_t count) const { return part(count, rank_); }
  Range part(std::int64_t count, int rank) const { return balanced_part(count, rank, size_); }

  /// Add up over the ranks, in place; bitwise the same on all.
  void all_reduce(float* values, std::int64_t count) const;
  void all_reduce(std::span<double> values) const;

  /// Rows divided by part(): all_rd [rows, width] from the own ones. `own_rd` may be their place in
  /// `all_rd`.
  void all_gather_rows(FloatPtr all_rd, ConstFloatPtr own_rd, std::int64_t rows,
                       std::int64_t width) const;
  /// The sums of the own rows; all_rd is left as it was.
  void reduce_scatter_rows(float* own_rd, const float* all_rd, std::int64_t rows,
                           std::int64_t width) const;

  /// Columns of a matrix divided over the ranks as `counts` says (elements of a row, in the order
  /// of the ranks): all_rc [rows, sum of counts] from own_rc [rows, counts[rank()]]. `scratch`
  /// holds as many floats as all_rc.
  void all_gather_columns(float* all_rc, const float* own_rc, std::int64_t rows,
                          const std::vector<std::int64_t>& counts, float* scratch) const;
  /// The sums of the own columns; `scratch` as above.
  void reduce_scatter_columns(float* own_rc, const float* all_rc, std::int64_t rows,
                              const std::vector<std::int64_t>& counts, float* scratch) const;

 private:
  int rank_, size_;
  ops::Communicator* communicator_ = nullptr;
};

}  // namespace trib::model
