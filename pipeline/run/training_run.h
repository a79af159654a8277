// The end of a graph that trains: steps, evaluations, metrics, progress, capture.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint.h"
#include "ops/comm/traffic_ledger.h"
#include "pipeline/checkpoint/checkpointer.h"
#include "pipeline/checkpoint/training_state.h"
#include "pipeline/checkpoint/weights.h"
#include "pipeline/engine/engine.h"
#include "pipeline/engine/trainer.h"
#include "pipeline/observe/metrics.h"
#include "pipeline/observe/progress.h"
#include "pipeline/observe/sample_log.h"
#include "pipeline/run/capture.h"

namespace trib::pipeline {

/// Figures of a training for the summary; of this attempt at it.
struct TrainingSummary {
  std::int64_t resumed_after = 0;  ///< steps of earlier attempts
  std::int64_t steps = 0;
  std::int64_t global_batch = 0;
  double first_loss = 0, last_loss = 0;
  double step_seconds = 0;         ///< median of the model's work on a step
  double wait_seconds = 0;         ///< sum of the model's waits for data, after the first batch
  double first_batch_seconds = 0;  ///< from the start of ingest to the first batch
  double samples_per_second = 0;   ///< over all ranks, waits included, after the first step
  double gflops = 0;               ///< of this rank's matrix products per second of step time
  EvaluationReport first_evaluation, last_evaluation;
};

class TrainingRun {
 public:
  struct Options {
    std::string run_folder;
    CaptureOptions capture;
    CheckpointSettings checkpoints;
    std::string graph;                             ///< resolved, for the checkpoints
    bool log_samples = false;                      ///< in samples/ of the run folder
    std::optional<TrainingState> resumed;          ///< where an earlier attempt stood
    std::function<void(const std::string&)> warn;  ///< what a person must see
  };
  TrainingRun(const Plan& plan, ops::Communicator& communicator, Progress& progress,
              Options options);

  /// Take these values instead of the initial ones, before anything else.
  void start_from(const Weights& weights);
  /// Take over the state of the training from the checkpoint that options.resumed is from.
  void restore(const io::Checkpoint& checkpoint);
  /// Read the held-out samples, and evaluate the untrained model.
  void prepare_evaluation(const Ingest& ingest);
  /// What the engine calls; `stop` ends the engine.
  StepHandler handler(std::function<void()> stop);
  TrainingSummary summary() const;

 private:
  /// Of one update: the model's work on its micro-batches, and its waits for them.
  struct Pace {
    double step_seconds = 0, wait_seconds = 0, gflops = 0;
  };

  bool captures_this_step() const;
  void finish_step(StepMessage& message);
  void finish_update(const StepReport& report, const StepMessage& message);
  void write_checkpoint(std::int64_t step, std::int64_t epoch);
  void write_row(const StepReport& report, const StepMessage& message, const Pace& pace,
                 const EvaluationReport& evaluation);
  std::array<std::int64_t, ops::kPhases> sent_by_phase() const;

  const Plan& plan_;
  ops::Communicator& communicator_;
  Progress& progress_;
  Options options_;
  Trainer trainer_;
  Capture capture_;
  std::optional<Checkpointer> checkpointer_;
  std::unique_ptr<MetricsWriter> metrics_;  // rank 0
  std::optional<SampleLog> sample_log_;     // of ranks with samples of their own
  ConsumedSamples consumed_;                // by earlier attempts
  std::uint64_t stream_ = 0;                // Sampler::fingerprint()
  std::uint64_t next_position_ = 0;         // behind the last sample this rank used
  double began_ = 0;                        // run clock when training did
  std::function<void()> stop_;
  std::int64_t global_batch_;
  TrainingSummary summary_;
  double work_seconds_ = 0, wait_seconds_ = 0;  // of the update under way
  std::vector<double> step_seconds_;
  std::int64_t flops_before_ = 0, flops_total_ = 0;
  std::array<std::int64_t, ops::kPhases> sent_before_{};  // bytes by phase
  double first_step_end_ = 0, last_step_end_ = 0, compute_seconds_ = 0;
};

/// Peak resident memory of this process in bytes.
std::int64_t peak_resident_bytes();

}  // namespace trib::pipeline
