// Memory of the batches to come, handed out sample by sample: a reader writes a sample to where it
// will stand in its batch, and stacking finds nothing left to copy.
//
// Axes: b sample, c channel, v target variable, y row, x column.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "ops/base/buffer_pool.h"
#include "ops/base/tensor.h"
#include "pipeline/engine/sampler.h"

namespace trib::pipeline {

/// Where a sample belongs.
struct SampleSlot {
  Tensor x_cyx, target_vyx;  ///< undefined if there is no place for it
};

/// Thread-safe. Slots may outlive it.
class BatchMemory {
 public:
  /// For batches of `batch_size` samples of the shape `x_cyx`, with targets of the shape
  /// `target_vyx` (no elements: none), at the positions of `order`, which must live on.
  BatchMemory(std::int64_t batch_size, const Sampler& order, const Shape& x_cyx,
              const Shape& target_vyx);

  /// The place of an own position, if it has one. Asked for once a position.
  SampleSlot slot(std::uint64_t position);
  /// A batch begins with this position; those before it will not be asked for any more. Where
  /// positions were left out, batches begin later than expected: what was handed out by then is
  /// not where it belongs, and will be copied.
  void begin_batch(std::uint64_t position);

 private:
  /// Equal tensors [b, ...] for the samples of a batch.
  struct Stack {
    Stack(std::int64_t batch_size, const Shape& sample);
    Tensor take() { return Tensor::on(pool.take(), shape); }
    Shape shape;
    BufferPool pool;
  };
  struct Open {
    Tensor x_bcyx, target_bvyx;
  };
  const std::uint64_t batch_size_;
  const Sampler& order_;
  std::mutex mutex_;
  std::uint64_t first_index_;  // own_index() of a position that begins a batch
  Stack x_;
  std::optional<Stack> target_;
  std::map<std::uint64_t, Open> open_;  // by number of the batch from there
};

}  // namespace trib::pipeline
