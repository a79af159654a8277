// A preset's model in training, in the order of things of pipeline/engine/trainer.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "bench/step/presets.h"
#include "model/optimizer.h"
#include "model/parallel/sharded_parameters.h"
#include "ops/comm/communicator.h"

namespace trib::bench {

/// Trains on the same batch again and again. Ranks share its samples: all are on the data axis.
class Training {
 public:
  /// Throws ConfigError unless the ranks divide the batch.
  Training(const Preset& preset, const ModelChoices& choices, std::int64_t batch,
           ops::Communicator& communicator);

  /// One step: gives the loss, the mean over this rank's samples.
  double step();
  /// Write input, parameters, and of the step that begins with them loss and gradients, as
  /// safetensors; nothing is learned from it. On one rank.
  void dump(const std::string& path);

  const model::Model& model() const { return *model_; }
  const StepArena& arena() const { return arena_; }
  std::int64_t rank_batch() const { return input_.x_bchw.dim(0); }

 private:
  double forward_and_backward();

  ops::Communicator& communicator_;
  std::unique_ptr<model::Model> model_;
  model::ShardedParameters parameters_;
  model::AdamW optimizer_;
  model::StepInput input_;
  StepArena arena_;
  std::optional<model::Step> step_;
};

}  // namespace trib::bench
