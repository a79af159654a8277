#include "pipeline/run/forward_only.h"

namespace trib::pipeline {

ForwardOnly::ForwardOnly(const Plan& plan, ops::Communicator* communicator)
    : model_(plan.model()),
      communicator_(communicator),
      seed_(plan.options().seed),
      parameters_(model_->table(), false),
      arena_(static_cast<std::size_t>(model_->arena_bytes(plan.rank_batch_size(), false))) {
  parameters_.initialize(seed_);
  if (model_->group().is_alone()) return;
  // Data ranks are in no collective with each other here, and some of them may have no part in the
  // last batch: the tensor axis agrees for itself.
  agreement_.emplace(*communicator_, model_->group(), ops::MeshAxis::tensor);
}

StepHandler ForwardOnly::handler(std::function<bool()> wants_stop, std::function<void()> stop) {
  wants_stop_ = std::move(wants_stop);
  stop_ = std::move(stop);
  StepHandler handler;
  handler.begin = [this](const Batch& batch) { return begin(batch); };
  handler.finish = [this](StepMessage& message) { finish(*message.step); };
  handler.ends_run = agreement_.has_value();
  return handler;
}

void ForwardOnly::start_from(const Weights& weights) {
  std::vector<model::StatePiece> pieces;
  const auto& specs = model_->table().specs();
  for (model::ParameterId id = 0; id < std::ssize(specs); ++id) {
    pieces.push_back({.id = id,
                      .elements = {0, model_->table().spec(id).local().numel()},
                      .value = parameters_.value(id)});
  }
  weights.load(pieces);
  parameters_.values_changed();
}

std::shared_ptr<model::Step> ForwardOnly::begin(const Batch& batch) {
  if (agreement_) {
    communicator_->enter(ops::Phase::forward);
    agreement_->add(batch);
  }
  arena_.reset();
  model::StepInput input{batch.x_bchw, batch.target_bvhw, batch.lead_hours, {}};
  for (const SampleRequest& request : batch.requests) {
    input.sample_keys.push_back(request.position);
  }
  auto step = std::make_shared<model::Step>(std::move(input), arena_, parameters_, false);
  model_->begin(*step, seed_);
  return step;
}

void ForwardOnly::finish(const model::Step& step) {
  ++steps_;
  if (!agreement_) return;
  communicator_->enter(ops::Phase::setup);
  const StepVotes own{.stop = wants_stop_()};
  if (agreement_->settle(steps_, step.loss, own).votes.stop) stop_();
}

}  // namespace trib::pipeline
