// Steps of a graph with a model and without training: the forward pass alone.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "model/model.h"
#include "ops/comm/communicator.h"
#include "pipeline/checkpoint/weights.h"
#include "pipeline/engine/engine.h"
#include "pipeline/engine/plan.h"
#include "pipeline/engine/step_agreement.h"

namespace trib::pipeline {

class ForwardOnly {
 public:
  /// An undivided model needs no communicator.
  ForwardOnly(const Plan& plan, ops::Communicator* communicator);

  /// What the engine calls. Ranks of a tensor group work on each step together, so that none may
  /// end before the others: they agree after each step whether any of them wants to, and all call
  /// `stop` then. A rank that shares its model with no other stops when it likes.
  StepHandler handler(std::function<bool()> wants_stop, std::function<void()> stop);
  std::int64_t steps() const { return steps_; }
  /// Take these values instead of the initial ones, before the first step.
  void start_from(const Weights& weights);

 private:
  std::shared_ptr<model::Step> begin(const Batch& batch);
  void finish(const model::Step& step);

  std::shared_ptr<const model::Model> model_;
  ops::Communicator* communicator_;
  std::uint64_t seed_;
  model::Parameters parameters_;
  StepArena arena_;
  std::optional<StepAgreement> agreement_;  // of a divided model
  std::function<bool()> wants_stop_;
  std::function<void()> stop_;
  std::int64_t steps_ = 0;
};

}  // namespace trib::pipeline
