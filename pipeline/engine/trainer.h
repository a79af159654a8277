// The training loop's work on one step: backward, reduction over the ranks, clipping, update.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/model.h"
#include "model/optimizer.h"
#include "model/parallel/sharded_parameters.h"
#include "ops/comm/communicator.h"
#include "pipeline/engine/step_agreement.h"
#include "pipeline/stage/flow.h"
#include "pipeline/stage/stage.h"

namespace trib::pipeline {

struct StepReport {
  std::int64_t step = 0;  ///< counted from 1
  double loss = 0;        ///< mean over the global batch
  double lr = 0;
  double grad_norm = 0;  ///< before clipping
};

/// What an evaluation found: names and values ("eval_loss", "eval_rmse_t2m", ...).
using EvaluationReport = std::vector<std::pair<std::string, double>>;

class Trainer {
 public:
  struct Options {
    std::uint64_t seed = 0;
    std::int64_t rank_batch_size = 1;      ///< of a micro-batch
    StreamInfo input;                      ///< of the batches, for the metrics of a forecast
    std::vector<std::string> layer_nodes;  ///< names for the trace, by layer
  };
  Trainer(const TrainingPlan& plan, std::shared_ptr<const model::Model> model,
          model::ShardingPlan sharding, ops::Communicator& communicator, Options options);

  /// A step over `batch`, ready for the first layer. The step before must be finished; it is used
  /// again.
  std::shared_ptr<model::Step> begin(const Batch& batch);
  /// Everything after the forward pass; a report if the update is made, none if more micro-batches
  /// belong to it. With the update the ranks settle their votes: see agreed(). Throws DataError if
  /// ranks that share a model had different samples, RuntimeError if the loss or the gradients are
  /// not finite.
  std::optional<StepReport> finish(model::Step& step, const StepVotes& own);
  /// What any rank said with the last update.
  const StepVotes& agreed() const { return agreed_; }
  /// Whether the step under way is the last of its update.
  bool is_last_micro_batch() const { return micro_batch_ + 1 == plan_.sharding.accumulate; }
  bool done() const { return steps_ >= plan_.steps || agreed_.stop; }

  /// Keep held-out samples for evaluate(); their order is the same in every run.
  void keep_evaluation_batch(std::vector<Sample> samples);
  /// After the update just made.
  bool evaluation_due() const;
  /// Loss (and forecast errors) on the kept samples of all ranks.
  EvaluationReport evaluate();
  /// Names evaluate() reports.
  std::vector<std::string> evaluation_columns() const;

  const model::CosineSchedule& schedule() const { return schedule_; }
  /// Updates made, those before resume_after() included.
  std::int64_t steps() const { return steps_; }
  /// To look at values and gradients between forward and backward, and after an update.
  model::ShardedParameters& parameters() { return parameters_; }

  /// What this rank writes into a checkpoint: over all ranks, every element once. The same pieces
  /// in every step.
  std::vector<model::StatePiece> written_state();
  /// All this rank holds of the state, to be filled in from a checkpoint before the first step, ...
  std::vector<model::StatePiece> held_state();
  /// ... and the number of steps that went before.
  void resume_after(std::int64_t steps);

 private:
  void backward(model::Step& step);
  StepReport update(const StepVotes& own);
  std::vector<double> standard_deviations(const std::vector<std::string>& variables) const;

  TrainingPlan plan_;
  std::shared_ptr<const model::Model> model_;
  ops::Communicator& communicator_;
  Options options_;
  model::ShardedParameters parameters_;
  model::AdamW optimizer_;
  StepAgreement agreement_;
  model::CosineSchedule schedule_;
  StepArena arena_;
  std::shared_ptr<model::Step> step_;
  Batch evaluation_;
  std::int64_t evaluation_passes_ = 0;  // the same on all ranks
  std::int64_t steps_ = 0;
  std::int64_t micro_batch_ = 0;  // of the update under way
  double loss_sum_ = 0;           // of its micro-batches
  StepVotes agreed_;
};

}  // namespace trib::pipeline
