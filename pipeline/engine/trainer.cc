#include "pipeline/engine/trainer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "model/metrics.h"
#include "ops/base/error.h"
#include "pipeline/engine/collate.h"
#include "pipeline/observe/trace.h"

namespace trib::pipeline {
namespace {

// Masks of evaluation samples must not coincide with those of training samples.
constexpr std::uint64_t kEvaluationKey = std::uint64_t{1} << 63;

// Samples of a batch; the vectors of `input` keep their memory.
void take_input(model::StepInput& input, const Batch& batch, std::int64_t begin, std::int64_t end,
                std::uint64_t key_bits) {
  input.x_bchw = batch.x_bchw.slice(0, begin, end);
  input.target_bvhw =
      batch.target_bvhw.defined() ? batch.target_bvhw.slice(0, begin, end) : Tensor();
  input.lead_hours.clear();
  input.sample_keys.clear();
  for (std::int64_t b = begin; b < end; ++b) {
    const auto i = static_cast<std::size_t>(b);
    input.lead_hours.push_back(batch.lead_hours[i]);
    input.sample_keys.push_back(batch.requests[i].position | key_bits);
  }
}

}  // namespace

Trainer::Trainer(const TrainingPlan& plan, std::shared_ptr<const model::Model> model,
                 model::ShardingPlan sharding, ops::Communicator& communicator, Options options)
    : plan_(plan),
      model_(std::move(model)),
      communicator_(communicator),
      options_(std::move(options)),
      parameters_(model_->table(), model_->group(), std::move(sharding), communicator),
      optimizer_(parameters_.plan().layout, {plan.beta1, plan.beta2, plan.eps, plan.weight_decay}),
      agreement_(communicator, model_->group(), ops::MeshAxis::world),
      schedule_{plan.lr, plan.start_lr, plan.min_lr, plan.warmup_steps, plan.steps},
      arena_(static_cast<std::size_t>(model_->arena_bytes(options_.rank_batch_size, true))),
      step_(std::make_shared<model::Step>(model::StepInput{}, arena_, parameters_.parameters(),
                                          /*train=*/true)) {
  parameters_.initialize(options_.seed);
}

std::shared_ptr<model::Step> Trainer::begin(const Batch& batch) {
  communicator_.enter(ops::Phase::forward);
  agreement_.add(batch);
  arena_.reset();
  if (micro_batch_ == 0) parameters_.begin_step();
  take_input(step_->input, batch, 0, batch.x_bchw.dim(0), 0);
  model_->begin(*step_, options_.seed);
  return step_;
}

std::optional<StepReport> Trainer::finish(model::Step& step, const StepVotes& own) {
  loss_sum_ += step.loss;
  backward(step);
  // The batch gives back its credits, and with them the memory.
  step.input.x_bchw = {};
  step.input.target_bvhw = {};
  if (!is_last_micro_batch()) {
    ++micro_batch_;
    communicator_.enter(ops::Phase::setup);
    return std::nullopt;
  }
  return update(own);
}

// The gradients of all ranks and micro-batches add up to that of the mean loss.
void Trainer::backward(model::Step& step) {
  const int sample_ranks = communicator_.size(ops::MeshAxis::samples);
  step.loss_scale = 1.0F / static_cast<float>(plan_.sharding.accumulate * sample_ranks);
  communicator_.enter(ops::Phase::backward);
  parameters_.begin_backward(is_last_micro_batch());
  const auto& layers = model_->layers();
  for (std::size_t i = layers.size(); i-- > 0;) {
    const trace::Span span("backward", options_.layer_nodes[i]);
    layers[i]->backward(step, parameters_.parameters());
  }
  if (!is_last_micro_batch()) return;
  const trace::Span span("communication", "wait for gradients");
  parameters_.finish_backward();
}

StepReport Trainer::update(const StepVotes& own) {
  communicator_.enter(ops::Phase::optimizer);
  StepReport report;
  report.lr = schedule_.at(steps_);
  report.step = ++steps_;
  const StepAgreement::Settled settled = agreement_.settle(
      report.step, std::exchange(loss_sum_, 0) / static_cast<double>(plan_.sharding.accumulate),
      own);
  micro_batch_ = 0;
  report.loss = settled.loss / communicator_.size(ops::MeshAxis::samples);
  agreed_ = settled.votes;
  report.grad_norm = parameters_.gradient_norm();
  if (!std::isfinite(report.loss) || !std::isfinite(report.grad_norm)) {
    throw RuntimeError(
        fmt::format("diverged at step {}: loss {}, gradient norm {}; try a smaller "
                    "lr, a longer warm-up or clip_norm",
                    report.step, report.loss, report.grad_norm));
  }
  const double clip = plan_.clip_norm > 0 && report.grad_norm > plan_.clip_norm
                          ? plan_.clip_norm / report.grad_norm
                          : 1.0;
  const trace::Span span("optimizer", plan_.node);
  optimizer_.step(parameters_.shards(), report.lr, clip);
  parameters_.values_changed(/*with_copies=*/true);
  communicator_.enter(ops::Phase::setup);
  return report;
}

std::vector<model::StatePiece> Trainer::held_state() {
  return parameters_.held_state(optimizer_);
}

std::vector<model::StatePiece> Trainer::written_state() {
  return parameters_.written_state(optimizer_);
}

void Trainer::resume_after(std::int64_t steps) {
  steps_ = steps;
  optimizer_.set_steps(steps);
  parameters_.values_changed();
}

void Trainer::keep_evaluation_batch(std::vector<Sample> samples) {
  if (samples.empty()) throw DataError("no held-out sample could be read for evaluation");
  evaluation_ = collate(std::move(samples));
  // Ranks that lack a sample, because it was skipped, must take part in the collectives of those
  // that have it.
  const std::int64_t own =
      (evaluation_.x_bchw.dim(0) + options_.rank_batch_size - 1) / options_.rank_batch_size;
  std::vector<std::int64_t> passes(static_cast<std::size_t>(communicator_.size()));
  communicator_
      .all_gather(ops::MeshAxis::world, std::as_bytes(std::span(&own, 1)),
                  std::as_writable_bytes(std::span(passes)))
      .wait();
  evaluation_passes_ = *std::max_element(passes.begin(), passes.end());
}

bool Trainer::evaluation_due() const {
  if (plan_.evaluate_every == 0) return false;
  return steps_ % plan_.evaluate_every == 0 || steps_ == plan_.steps;
}

std::vector<std::string> Trainer::evaluation_columns() const {
  if (plan_.evaluate_every == 0) return {};
  std::vector<std::string> columns{"eval_loss"};
  for (const std::string& name : model_->forecast_variables()) {
    columns.push_back("eval_rmse_" + name);
    columns.push_back("eval_persistence_rmse_" + name);
  }
  return columns;
}

EvaluationReport Trainer::evaluate() {
  const trace::Span span("evaluate", plan_.node);
  const std::vector<std::string> variables = model_->forecast_variables();
  const std::vector<std::string> own_variables = model_->own_forecast_variables();
  std::optional<model::ForecastMetrics> metrics;
  if (!own_variables.empty()) {
    metrics.emplace(model_->own_input(), own_variables, standard_deviations(own_variables));
  }
  const std::int64_t count = evaluation_.x_bchw.dim(0);
  double loss_sum = 0;
  for (std::int64_t pass = 0; pass < evaluation_passes_; ++pass) {
    const std::int64_t last = (count - 1) / options_.rank_batch_size;
    const bool counts = pass <= last;  // else it is there for other ranks' sake
    const std::int64_t begin = std::min(pass, last) * options_.rank_batch_size;
    const std::int64_t end = std::min(count, begin + options_.rank_batch_size);
    arena_.reset();
    model::Step step({}, arena_, parameters_.parameters(), false);
    take_input(step.input, evaluation_, begin, end, kEvaluationKey);
    model_->begin(step, options_.seed);
    model_->forward(step);
    parameters_.end_forward();
    if (!counts) continue;
    loss_sum += step.loss * static_cast<double>(end - begin);
    if (metrics) metrics->add(step);
  }
  // Sums over samples in the order of the columns, then the number of samples. What several ranks
  // of the tensor axis know, the first of them tells.
  std::vector<double> sums(2 + 2 * variables.size());
  const bool is_first = model_->group().rank() == 0;
  if (is_first) {
    sums.front() = loss_sum;
    sums.back() = static_cast<double>(count);
  }
  if (metrics && (is_first || model_->divides_channels())) {
    for (const model::ForecastScore& score : metrics->scores()) {
      const auto v = static_cast<std::size_t>(
          std::find(variables.begin(), variables.end(), score.variable) - variables.begin());
      sums[1 + 2 * v] = score.rmse * static_cast<double>(score.samples);
      sums[2 + 2 * v] = score.persistence * static_cast<double>(score.samples);
    }
  }
  communicator_.all_reduce_sum(ops::MeshAxis::world, std::span<double>(sums)).wait();
  const std::vector<std::string> columns = evaluation_columns();
  EvaluationReport report;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    report.emplace_back(columns[i], sums[i] / sums.back());
  }
  return report;
}

// In the units of the files where the data was normalised, else 1.
std::vector<double> Trainer::standard_deviations(const std::vector<std::string>& variables) const {
  std::vector<double> stddevs(variables.size(), 1.0);
  const auto& statistics = options_.input.statistics;
  for (std::size_t v = 0; statistics != nullptr && v < variables.size(); ++v) {
    const auto at =
        std::find(statistics->channels.begin(), statistics->channels.end(), variables[v]);
    if (at == statistics->channels.end()) continue;
    stddevs[v] = statistics->std[static_cast<std::size_t>(at - statistics->channels.begin())];
  }
  return stddevs;
}

}  // namespace trib::pipeline
