// What ranks settle at the end of each step.
#pragma once

#include <cstdint>

#include "model/parallel/tensor_group.h"
#include "ops/comm/communicator.h"
#include "pipeline/stage/flow.h"

namespace trib::pipeline {

/// What a rank has to say at the end of a step. All ranks act on it in the same step.
struct StepVotes {
  bool stop = false;               ///< this step shall be the last
  bool checkpoint_due = false;     ///< it is time for a checkpoint
  bool checkpoint_busy = false;    ///< the last checkpoint is still being written
  bool checkpoint_failed = false;  ///< the last checkpoint could not be written
  bool operator==(const StepVotes&) const = default;
};

/// Ranks in collectives with each other must end after the same step, and ranks that share a model
/// must work on the same samples. One small all_reduce a step sees to both.
class StepAgreement {
 public:
  /// Between the ranks of `axis`, which holds the whole tensor group.
  StepAgreement(ops::Communicator& communicator, const model::TensorGroup& group,
                ops::MeshAxis axis)
      : communicator_(communicator), group_(group), axis_(axis) {}

  /// `batch` belongs to the step under way.
  void add(const Batch& batch);

  struct Settled {
    double loss = 0;  ///< the sum over the tensor groups of the axis
    StepVotes votes;  ///< each true if any rank said so
  };
  /// The step, number `step` counted from 1, ends. Throws DataError, on all ranks, if ranks of a
  /// tensor group had different samples.
  Settled settle(std::int64_t step, double loss, const StepVotes& own);

 private:
  ops::Communicator& communicator_;
  const model::TensorGroup& group_;
  ops::MeshAxis axis_;
  std::uint32_t mark_ = 0;  // of the step's samples so far; 0 where nobody shares them
};

}  // namespace trib::pipeline
