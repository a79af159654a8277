// Steps of a graph with a model and without training: the forward pass of the initial weights.
#pragma once

#include "model/model.h"
#include "pipeline/engine/engine.h"
#include "pipeline/engine/plan.h"

namespace trib::pipeline {

class ForwardOnly {
 public:
  explicit ForwardOnly(const Plan& plan)
      : model_(plan.model()),
        seed_(plan.options().seed),
        parameters_(model_->table(), false),
        arena_(static_cast<std::size_t>(model_->arena_bytes(plan.rank_batch_size(), false))) {
    parameters_.initialize(seed_);
  }

  StepHandler handler() {
    return {[this](const Batch& batch) { return begin(batch); }, [](StepMessage&) {}};
  }

 private:
  std::unique_ptr<model::Step> begin(const Batch& batch) {
    arena_.reset();
    model::StepInput input{batch.x_bchw, batch.target_bvhw, batch.lead_hours, {}};
    for (const SampleRequest& request : batch.requests) {
      input.sample_keys.push_back(request.position);
    }
    auto step = std::make_unique<model::Step>(std::move(input), arena_, parameters_, false);
    model_->begin(*step, seed_);
    return step;
  }

  std::shared_ptr<const model::Model> model_;
  std::uint64_t seed_;
  model::Parameters parameters_;
  StepArena arena_;
};

}  // namespace trib::pipeline
