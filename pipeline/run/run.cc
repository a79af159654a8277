#include "pipeline/run/run.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/checkpoint_writer.h"
#include "io/pending_file.h"
#include "model/model.h"
#include "ops/base/error.h"
#include "ops/comm/communicator.h"
#include "ops/kernels/gemm.h"
#include "pipeline/checkpoint/checkpointer.h"
#include "pipeline/checkpoint/resume.h"
#include "pipeline/checkpoint/training_state.h"
#include "pipeline/checkpoint/weights.h"
#include "pipeline/engine/engine.h"
#include "pipeline/engine/plan.h"
#include "pipeline/engine/rank_group.h"
#include "pipeline/engine/same_files.h"
#include "pipeline/engine/threads.h"
#include "pipeline/engine/warnings.h"
#include "pipeline/graph/show.h"
#include "pipeline/observe/environment.h"
#include "pipeline/observe/progress.h"
#include "pipeline/observe/run_folder.h"
#include "pipeline/observe/sample_log.h"
#include "pipeline/observe/trace.h"
#include "pipeline/run/forward_only.h"
#include "pipeline/run/interrupt.h"
#include "pipeline/run/rank_parts.h"
#include "pipeline/run/summary.h"
#include "pipeline/run/training_run.h"

namespace trib::pipeline {
namespace {

// Collectives wait no longer than this for ranks that are alive, and that much longer while some
// wait for files to open, or check or read a large checkpoint.
constexpr std::chrono::seconds kTimeout{300};
constexpr std::chrono::hours kReadTimeout{2};

/// One rank's part in a run.
class Run {
 public:
  Run(const RunOptions& options, const Registry& registry)
      : options_(options), registry_(registry), leads_(ranks_.leads()) {
    communicator_.set_timeout(kReadTimeout);
  }

  int execute() {
    for (const auto part :
         {&Run::load, &Run::find_cores, &Run::take_cores, &Run::plan, &Run::compare_files,
          &Run::find_checkpoint, &Run::open_checkpoint, &Run::make_folder}) {
      const ExitCode code = ranks_.all_ready([&] { (this->*part)(); });
      if (code != ExitCode::ok) return static_cast<int>(code);
      share_names();
      if (is_complete()) return say_complete();
    }
    if (!resumed_) communicator_.set_timeout(kTimeout);
    try {
      run();
    } catch (const Error& error) {
      return fail(error.exit_code(), error.what());
    } catch (const std::exception& error) {
      return fail(ExitCode::runtime, error.what());
    }
    const int signal = interrupt_signal();
    return signal == 0 ? 0 : 128 + signal;
  }

 private:
  // An error while other ranks may be waiting for this one: leave a record and end them all.
  int fail(ExitCode code, const std::string& message) {
    if (progress_) progress_->clear();
    ranks_.print_error(message);
    try {
      write_parts();
      if (ranks_.size() == 1 && !folder_.empty()) join_rank_parts(folder_, 1);
    } catch (const std::exception& error) {
      ranks_.print_error(error.what());
    }
    return ranks_.end_all(code);
  }

  void load() {
    graph_ = load_graph(options_.graph, options_.sets, registry_);
    if (leads_) print_warnings(*graph_);
  }

  // Before the ranks start threads of their own.
  void find_cores() {
    const std::vector<RankPlace> places = gather_places(ranks_);
    binding_ = plan_binding(places, ranks_.rank(), options_.bind);
  }

  void take_cores() {
    cores_of_ranks_ = gather_cores(ranks_, binding_);
    if (leads_ && !binding_.warning.empty()) warn(binding_.warning);
    apply_to_process(binding_);
  }

  void plan() {
    communicator_.split(mesh_of(*graph_));
    plan_.emplace(*graph_, registry_,
                  PlanOptions::of(*graph_, ranks_.rank(), binding_.compute_threads));
    if (leads_) print_warnings(*plan_);
    if (plan_->model() != nullptr) plan_->model()->connect(communicator_);
    const Capture refuses_what_cannot_be_captured(options_.capture, *plan_);
  }

  void compare_files() { require_same_files(*plan_, ranks_); }

  // Rank 0 alone looks for what there is and whether it is whole; the others wait.
  void find_checkpoint() {
    if (!options_.resume) return;
    if (!plan_->training()) {
      throw ConfigError(
          fmt::format("{}: --resume goes on with a training, but the graph has no "
                      "train stage",
                      graph_->file));
    }
    if (!leads_) return;
    folder_ = options_.run_dir.empty() ? find_run_folder(graph_->runs(), graph_->name())
                                       : options_.run_dir;
    if (!folder_.empty()) checkpoint_path_ = newest_valid_checkpoint(folder_, warn);
    if (!checkpoint_path_.empty()) return;
    warn(folder_.empty()
             ? fmt::format("no run of {} below {} has a checkpoint: this one starts from the "
                           "beginning",
                           graph_->name(), graph_->runs())
             : fmt::format("{} has no checkpoint: the run starts from the beginning", folder_));
  }

  // Nothing is touched before all ranks have found the checkpoint to be one of this run. What is
  // resumed does not start from other weights.
  void open_checkpoint() {
    if (checkpoint_path_.empty()) {
      weights_ = Weights::of(*graph_, plan_->parameter_table());
      return;
    }
    checkpoint_ = std::make_unique<io::Checkpoint>(checkpoint_path_);
    resumed_ = TrainingState::from_json(checkpoint_->index().training, checkpoint_path_);
    check_model(*checkpoint_, plan_->model()->table());
    const ResumingRun own{graph_->seed(),
                          Sampler(plan_->sampler_options(Split::train)).fingerprint(),
                          resolved_yaml(*graph_)};
    check_stream(*resumed_, own, checkpoint_path_);
    plan_->resume_samples(resumed_->consumed);
    if (!leads_ || is_complete()) return;
    for (const std::string& changed : changed_values(resumed_->graph, own.graph)) {
      fmt::print(stderr, "changed since {}: {}\n", checkpoint_path_, changed);
    }
  }

  // Whether the checkpoint leaves nothing to do.
  bool is_complete() const { return resumed_ && resumed_->step >= plan_->training()->steps; }

  int say_complete() const {
    if (leads_) {
      fmt::print("{}: {} of {} steps are done, nothing is left to do\n", checkpoint_path_,
                 resumed_->step, plan_->training()->steps);
    }
    return 0;
  }

  void make_folder() {
    if (!leads_) return;
    if (options_.resume && !folder_.empty()) {
      continue_run_folder(folder_, resumed_.has_value());
      continue_sample_logs(folder_, resumed_ ? resumed_->step : 0);
    } else {
      folder_ = options_.run_dir.empty() ? create_run_folder(graph_->runs(), graph_->name())
                                         : create_run_folder_at(options_.run_dir);
    }
    if (!plan_->training() || checkpoint_settings().keep == 0) return;
    // Its being there marks a run that can be resumed, if only from the beginning.
    create_folder(folder_ + "/checkpoints");
    flush_name(folder_ + "/..");
    flush_name(folder_);
    io::clean_checkpoints(folder_ + "/checkpoints");
    if (!checkpoint_path_.empty()) io::set_newer_aside(checkpoint_path_);
  }

  // Who may not read a folder cannot flush it; the run needs no more than that it is there.
  static void flush_name(const std::string& folder) {
    try {
      io::sync_folder(folder);
    } catch (const RuntimeError& error) {
      warn(error.what());
    }
  }

  CheckpointSettings checkpoint_settings() const {
    return CheckpointSettings::of(graph_->checkpoints);
  }

  // What rank 0 has found out.
  void share_names() {
    for (std::string* name : {&folder_, &checkpoint_path_}) {
      std::array<char, 4096> text{};
      name->copy(text.data(), text.size() - 1);
      communicator_.broadcast(ops::MeshAxis::world, std::as_writable_bytes(std::span(text)), 0)
          .wait();
      *name = text.data();
    }
  }

  void run() {
    ops::require_single_threaded_blas();
    if (options_.trace) {
      trace::enable(ranks_.rank());
      communicator_.set_observer(trace::collective);
    }
    trace::name_thread("main");
    threads_.emplace(plan_->options().compute_threads,
                     static_cast<int>(graph_->ingest.integer("threads")), binding_.compute);
    progress_.emplace(leads_ && !options_.quiet);
    ingest_.emplace(*plan_, *threads_);
    if (leads_) {
      write_text_file(folder_ + "/graph.yaml", resolved_yaml(*graph_));
      EnvironmentFacts facts;
      facts.ranks = ranks_.size();
      facts.mesh = communicator_.mesh();
      facts.compute_threads = threads_->compute();
      facts.io_threads = threads_->io();
      facts.bind = std::string(name_of(binding_.bind));
      facts.cores_of_ranks = cores_of_ranks_;
      write_text_file(folder_ + "/environment.json", environment_json(facts));
      const std::string bound =
          binding_.bind == Bind::none
              ? ""
              : fmt::format(", bound by {} (rank 0: {})", facts.bind, facts.cores_of_ranks.front());
      progress_->say(fmt::format("{}: {} rank{}, {} compute and {} I/O threads each{}", folder_,
                                 facts.ranks, facts.ranks > 1 ? "s" : "", facts.compute_threads,
                                 facts.io_threads, bound));
    }
    progress_->begin("measuring the data", 0);
    ingest_->measure(communicator_, folder_);
    for (const PlannedNode& node : plan_->nodes()) {
      if (node.sink != nullptr) node.sink->start(folder_);
    }

    RunSummary summary;
    if (plan_->training()) start_training();
    // Before the first step there is nothing to keep: a signal ends the process at once.
    const InterruptGuard interrupts;
    summary.engine = run_engine();
    if (training_) {
      summary.training = training_->summary();
      summary.steps = summary.training->steps;
    }
    if (forward_only_) summary.steps = forward_only_->steps();
    finish(summary);
  }

  // Of a TrainingRun or ForwardOnly.
  template <class User>
  void load_weights(User& user) {
    if (!weights_) return;
    user.start_from(*weights_);
    if (!leads_) return;
    write_text_file(folder_ + "/weights.json", weights_->report().to_json());
    progress_->say(weights_->report().text());
  }

  void start_training() {
    TrainingRun::Options options;
    options.capture = options_.capture;
    options.run_folder = folder_;
    options.checkpoints = checkpoint_settings();
    options.warn = [this](const std::string& message) {
      progress_->clear();
      warn(message);
    };
    options.graph = resolved_yaml(*graph_);
    options.log_samples = options_.log_samples;
    options.resumed = resumed_;
    // Memory belongs to the node of the thread that touches it first: one of those that compute.
    threads_->compute_and_wait(
        [&] { training_.emplace(*plan_, communicator_, *progress_, std::move(options)); });
    if (resumed_) {
      progress_->begin(fmt::format("reading {}", checkpoint_path_), 0);
      training_->restore(*checkpoint_);
      checkpoint_.reset();
      // Ranks that read more than others come later.
      ranks_.barrier();
      communicator_.set_timeout(kTimeout);
      progress_->say(
          fmt::format("{}: training goes on after step {}", checkpoint_path_, resumed_->step));
    }
    load_weights(*training_);
    training_->prepare_evaluation(*ingest_);
  }

  EngineReport run_engine() {
    std::optional<Engine> engine;
    StepHandler steps;
    if (training_) {
      steps = training_->handler([&engine] { engine->stop(); });
    } else {
      progress_->begin("running", 0);
      if (plan_->model() != nullptr) {
        threads_->compute_and_wait([this] { forward_only_.emplace(*plan_, &communicator_); });
        load_weights(*forward_only_);
        steps = forward_only_->handler(
            [&engine] { return interrupt_signal() != 0 || engine->sinks_satisfied(); },
            [&engine] { engine->stop(); });
      }
    }
    engine.emplace(*plan_, *threads_, *ingest_, std::move(steps));
    engine->interrupted_by([] { return interrupt_signal() != 0; });
    // With other ranks in a collective, draining this rank's graph could take for ever.
    engine->on_failure([this](const Failure& failure) {
      if (ranks_.size() == 1) return;
      try {
        failure.rethrow();
      } catch (const Error& error) {
        fail(error.exit_code(), error.what());
      }
    });
    return engine->run();
  }

  RankSummary own_summary() const {
    const ops::MeshCoordinates place = communicator_.mesh().coordinates(ranks_.rank());
    RankSummary own{place.data, place.shard, place.tensor};
    own.predicted_bytes = plan_->predicted_bytes();
    const auto measured = memory_ledger::snapshot();
    for (std::size_t k = 0; k < kMemoryKinds; ++k) own.peak_bytes[k] = measured[k].peak;
    own.peak_rss_bytes = peak_resident_bytes();
    own.skipped = static_cast<std::int64_t>(ingest_->skipped().size());
    for (const PlannedNode& node : plan_->nodes()) {
      if (node.source != nullptr) own.decoded_bytes += node.source->bytes_decoded();
    }
    return own;
  }

  void finish(RunSummary& summary) {
    summary.folder = folder_;
    summary.ranks = ranks_.size();
    summary.traffic = communicator_.traffic().snapshot();
    summary.all_ranks = ranks_.gather(own_summary());
    write_parts();
    ranks_.barrier();
    if (!leads_) return;
    join_rank_parts(folder_, ranks_.size());
    write_text_file(folder_ + "/summary.json", summary_json(summary));
    if (!options_.quiet) progress_->say(summary_text(summary));
  }

  void write_parts() const {
    if (folder_.empty()) return;
    if (options_.trace) write_trace_part(folder_, ranks_.rank());
    if (ingest_) write_skipped_part(folder_, ranks_.rank(), ingest_->skipped());
  }

  const RunOptions& options_;
  const Registry& registry_;
  RankGroup ranks_;
  ops::Communicator& communicator_ = ranks_.communicator();
  const bool leads_;
  std::vector<std::string> cores_of_ranks_;
  Binding binding_;
  std::optional<GraphDefinition> graph_;
  std::optional<Plan> plan_;
  std::optional<Weights> weights_;  // that the graph starts from
  std::string folder_;
  std::string checkpoint_path_;                 // to go on from; empty for none
  std::unique_ptr<io::Checkpoint> checkpoint_;  // until its state is read
  std::optional<TrainingState> resumed_;
  std::optional<Threads> threads_;
  std::optional<Progress> progress_;
  std::optional<Ingest> ingest_;
  std::optional<TrainingRun> training_;
  std::optional<ForwardOnly> forward_only_;
};

}  // namespace

int run_graph(const RunOptions& options, const Registry& registry) {
  return Run(options, registry).execute();
}

}  // namespace trib::pipeline
