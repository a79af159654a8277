#include "pipeline/run/training_run.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <sys/resource.h>

#include "ops/base/memory_ledger.h"
#include "ops/kernels/gemm.h"
#include "pipeline/checkpoint/resume.h"
#include "pipeline/observe/environment.h"
#include "pipeline/observe/trace.h"
#include "pipeline/run/interrupt.h"

namespace trib::pipeline {
namespace {

Trainer::Options trainer_options(const Plan& plan) {
  Trainer::Options options;
  options.seed = plan.options().seed;
  options.rank_batch_size = plan.rank_batch_size();
  options.input = plan.nodes()[static_cast<std::size_t>(plan.batch_node())].info;
  for (const PlannedNode& node : plan.nodes()) {
    if (node.model != nullptr) options.layer_nodes.push_back(node.name());
  }
  return options;
}

// The loss, and of a forecast how many variables are better than "nothing changes".
std::string describe(const EvaluationReport& report) {
  std::string text = fmt::format("evaluation loss {:.4g}", report.front().second);
  const std::size_t variables = (report.size() - 1) / 2;
  if (variables == 0) return text;
  std::size_t better = 0;
  for (std::size_t v = 0; v < variables; ++v) {
    better += report[1 + 2 * v].second < report[2 + 2 * v].second ? 1U : 0U;
  }
  return text + fmt::format(", {} of {} variables better than persistence", better, variables);
}

}  // namespace

std::int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * std::int64_t{1024};
}

TrainingRun::TrainingRun(const Plan& plan, ops::Communicator& communicator, Progress& progress,
                         Options options)
    : plan_(plan),
      communicator_(communicator),
      progress_(progress),
      options_(std::move(options)),
      trainer_(*plan.training(), plan.model(), plan.sharding(), communicator,
               trainer_options(plan)),
      capture_(options_.capture, plan),
      global_batch_(plan.rank_batch_size() * plan.micro_batches() * plan.options().data_ranks()) {
  summary_.global_batch = global_batch_;
  if (options_.resumed) summary_.resumed_after = options_.resumed->step;
  const SamplerOptions samples = plan.sampler_options(Split::train);
  consumed_ = samples.consumed;
  stream_ = Sampler(samples).fingerprint();
  if (options_.checkpoints.keep > 0) {
    checkpointer_.emplace(Checkpointer::Options{options_.checkpoints, options_.run_folder,
                                                summary_.resumed_after, options_.warn},
                          communicator_, plan.model()->table(), trainer_.written_state());
  }
  if (options_.log_samples && plan.options().place.tensor == 0) {
    sample_log_.emplace(options_.run_folder, communicator_.rank());
  }
  if (communicator_.rank() != 0) return;
  std::vector<std::string> columns{"step",
                                   "epoch",
                                   "loss",
                                   "lr",
                                   "grad_norm",
                                   "step_seconds",
                                   "wait_seconds",
                                   "samples_per_second",
                                   "gflops",
                                   "ingest_bytes",
                                   "peak_rss_bytes",
                                   "sent_forward_bytes",
                                   "sent_backward_bytes",
                                   "sent_optimizer_bytes"};
  for (const std::string& column : trainer_.evaluation_columns()) columns.push_back(column);
  metrics_ = std::make_unique<MetricsWriter>(
      options_.run_folder, std::move(columns),
      options_.resumed ? std::optional(options_.resumed->step) : std::nullopt);
}

void TrainingRun::restore(const io::Checkpoint& checkpoint) {
  const trace::Span span("checkpoint", "read");
  pipeline::restore(checkpoint, plan_.model()->table(), trainer_.held_state());
  trainer_.resume_after(options_.resumed->step);
}

void TrainingRun::start_from(const Weights& weights) {
  weights.load(trainer_.held_state());
  trainer_.resume_after(0);
}

void TrainingRun::prepare_evaluation(const Ingest& ingest) {
  if (plan_.training()->evaluate_every == 0) return;
  progress_.begin("reading held-out samples", 0);
  trainer_.keep_evaluation_batch(ingest.held_out(plan_.training()->evaluate_samples));
  if (options_.resumed) return;  // the untrained model's row stands in the metrics
  summary_.first_evaluation = summary_.last_evaluation = trainer_.evaluate();
  progress_.say(fmt::format("before training: {}", describe(summary_.first_evaluation)));
  if (metrics_ == nullptr) return;
  MetricsRow row{{"step", 0}};
  row.insert(row.end(), summary_.first_evaluation.begin(), summary_.first_evaluation.end());
  metrics_->write(row);
}

StepHandler TrainingRun::handler(std::function<void()> stop) {
  stop_ = std::move(stop);
  progress_.begin("training", plan_.training()->steps);
  flops_before_ = ops::gemm_flops();
  sent_before_ = sent_by_phase();
  began_ = trace::seconds();
  StepHandler handler;
  handler.begin = [this](const Batch& batch) { return trainer_.begin(batch); };
  handler.finish = [this](StepMessage& message) { finish_step(message); };
  handler.after_layer = [this](StepMessage& message, int layer) {
    if (!captures_this_step()) return;
    communicator_.enter(ops::Phase::setup);  // putting tensors together is not the step's traffic
    capture_.after_layer(message, layer);
    communicator_.enter(ops::Phase::forward);
  };
  handler.ends_run = true;
  return handler;
}

bool TrainingRun::captures_this_step() const {
  return capture_.wants(trainer_.steps() + 1) && trainer_.is_last_micro_batch();
}

void TrainingRun::finish_step(StepMessage& message) {
  const bool captured = captures_this_step();
  if (captured) {
    communicator_.enter(ops::Phase::setup);
    capture_.after_forward(message, trainer_.parameters());
  }
  StepVotes own{.stop = interrupt_signal() != 0};
  if (checkpointer_) checkpointer_->vote(own);
  const std::vector<SampleRequest>& requests = message.batch->requests;
  if (sample_log_) sample_log_->add(trainer_.steps() + 1, requests);
  for (const SampleRequest& request : requests) {
    next_position_ = std::max(next_position_, request.position + 1);
  }
  const std::optional<StepReport> report = trainer_.finish(*message.step, own);
  work_seconds_ += trace::seconds() - message.start_seconds;
  wait_seconds_ += message.wait_seconds;
  if (!report) return;
  if (captured)
    capture_.after_backward(trainer_.parameters(), options_.run_folder, communicator_.rank());
  finish_update(*report, message);
}

void TrainingRun::finish_update(const StepReport& report, const StepMessage& message) {
  const double end = trace::seconds();
  const double step_seconds = std::exchange(work_seconds_, 0);
  const double wait_seconds = std::exchange(wait_seconds_, 0);
  const std::int64_t flops = ops::gemm_flops() - flops_before_;
  const double gflops = static_cast<double>(flops) / step_seconds * 1e-9;
  if (summary_.steps == 0) {
    summary_.first_loss = report.loss;
    summary_.first_batch_seconds = wait_seconds;
    first_step_end_ = end;
  } else {
    summary_.wait_seconds += wait_seconds;
  }
  ++summary_.steps;
  summary_.last_loss = report.loss;
  step_seconds_.push_back(step_seconds);
  compute_seconds_ += step_seconds;
  flops_total_ += flops;
  last_step_end_ = end;

  // The state is copied before anything else, and written meanwhile; the checkpoint gets its name
  // only in a later step, or below, when the metrics of this one are in their file.
  if (checkpointer_ && checkpointer_->is_due(report.step, trainer_.agreed(), trainer_.done())) {
    write_checkpoint(report.step, message.batch->requests.front().epoch);
  }
  EvaluationReport evaluation;
  if (trainer_.evaluation_due()) {
    evaluation = trainer_.evaluate();
    summary_.last_evaluation = evaluation;
  }
  flops_before_ = ops::gemm_flops();
  write_row(report, message, {step_seconds, wait_seconds, gflops}, evaluation);
  if (!evaluation.empty()) {
    progress_.say(
        fmt::format("step {}: loss {:.4g}, {}", report.step, report.loss, describe(evaluation)));
  }
  if (!trainer_.done()) return;
  if (checkpointer_) checkpointer_->finish();
  stop_();
}

void TrainingRun::write_checkpoint(std::int64_t step, std::int64_t epoch) {
  std::vector<std::uint64_t> positions(static_cast<std::size_t>(communicator_.size()));
  communicator_
      .all_gather(ops::MeshAxis::world, std::as_bytes(std::span(&next_position_, 1)),
                  std::as_writable_bytes(std::span(positions)))
      .wait();
  TrainingState state;
  if (communicator_.rank() == 0) {
    const ops::MeshShape& mesh = communicator_.mesh();
    std::vector<std::uint64_t> next_positions;  // of the ranks that have samples of their own
    for (int rank = 0; rank < communicator_.size(); ++rank) {
      if (mesh.coordinates(rank).tensor > 0) continue;
      next_positions.push_back(positions[static_cast<std::size_t>(rank)]);
    }
    const TrainingPlan& plan = *plan_.training();
    state.step = step;
    state.epoch = epoch;
    state.seconds = trace::seconds() - began_ + (options_.resumed ? options_.resumed->seconds : 0);
    state.seed = plan_.options().seed;
    state.mesh = mesh;
    state.stream = stream_;
    state.consumed = consumed_.continued(global_batch_, std::move(next_positions));
    state.next_lr = trainer_.schedule().at(step);
    state.schedule = plan;
    state.graph = options_.graph;
    state.program = program_version();
  }
  checkpointer_->begin(step, trainer_.written_state(),
                       communicator_.rank() == 0 ? state.to_json() : std::string());
}

void TrainingRun::write_row(const StepReport& report, const StepMessage& message, const Pace& pace,
                            const EvaluationReport& evaluation) {
  const double rate = static_cast<double>(global_batch_) / (pace.step_seconds + pace.wait_seconds);
  const MemoryUse ingest = memory_ledger::use(MemoryKind::ingest);
  trace::counter("ingest bytes", static_cast<double>(ingest.live));
  if (metrics_ == nullptr) return;
  MetricsRow row{{"step", static_cast<double>(report.step)},
                 {"epoch", static_cast<double>(message.batch->requests.front().epoch)},
                 {"loss", report.loss},
                 {"lr", report.lr},
                 {"grad_norm", report.grad_norm},
                 {"step_seconds", pace.step_seconds},
                 {"wait_seconds", pace.wait_seconds},
                 {"samples_per_second", rate},
                 {"gflops", pace.gflops},
                 {"ingest_bytes", static_cast<double>(ingest.live)},
                 {"peak_rss_bytes", static_cast<double>(peak_resident_bytes())}};
  const auto sent = sent_by_phase();
  for (const ops::Phase phase :
       {ops::Phase::forward, ops::Phase::backward, ops::Phase::optimizer}) {
    const auto p = static_cast<std::size_t>(phase);
    row.emplace_back(fmt::format("sent_{}_bytes", name_of(phase)),
                     static_cast<double>(sent[p] - sent_before_[p]));
  }
  sent_before_ = sent;
  row.insert(row.end(), evaluation.begin(), evaluation.end());
  metrics_->write(row);
  progress_.update(report.step,
                   fmt::format("loss {:.4g} | {:.0f} samples/s | ingest {}", report.loss, rate,
                               format_bytes(static_cast<double>(ingest.live))));
}

std::array<std::int64_t, ops::kPhases> TrainingRun::sent_by_phase() const {
  std::array<std::int64_t, ops::kPhases> sent{};
  for (const auto& by_axis : communicator_.traffic().snapshot()) {
    for (const auto& by_phase : by_axis) {
      for (std::size_t p = 0; p < ops::kPhases; ++p) sent[p] += by_phase[p].bytes;
    }
  }
  return sent;
}

TrainingSummary TrainingRun::summary() const {
  TrainingSummary summary = summary_;
  if (step_seconds_.empty()) return summary;
  std::vector<double> sorted = step_seconds_;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  summary.step_seconds = sorted[sorted.size() / 2];
  summary.gflops = static_cast<double>(flops_total_) / compute_seconds_ * 1e-9;
  if (summary.steps > 1) {
    summary.samples_per_second = static_cast<double>((summary.steps - 1) * global_batch_) /
                                 (last_step_end_ - first_step_end_);
  }
  return summary;
}

}  // namespace trib::pipeline
