// The flow graph of a rank: from reads to batches to model steps.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pipeline/engine/failure.h"
#include "pipeline/engine/ingest.h"
#include "pipeline/engine/plan.h"
#include "pipeline/engine/threads.h"

namespace trib::pipeline {

/// What the graph's end does with model steps; called by one thread at a time. `begin` makes the
/// step of a batch before the first layer, `finish` takes it after the last.
struct StepHandler {
  std::function<std::shared_ptr<model::Step>(const Batch&)> begin;
  std::function<void(StepMessage&)> finish;
  /// Unless empty, called after the forward pass of each layer, by its number.
  std::function<void(StepMessage&, int layer)> after_layer = nullptr;
  /// Whether `finish` alone ends the run early, by Engine::stop(), because all ranks must end after
  /// the same step. If not, so do an interrupt and sinks that have had enough.
  bool ends_run = false;
};

struct EngineReport {
  std::int64_t samples = 0;  ///< that reached a batch; without one, that sinks took
  std::int64_t batches = 0;
  double seconds = 0;
  std::int64_t peak_items = 0;  ///< of the ingest budget
  std::int64_t peak_bytes = 0;
};

/// Runs a plan. One tbb::flow::graph; ingest nodes run as parallel as their stages allow, model
/// nodes one after another with one step in flight. What enters is bounded by a budget of samples
/// and bytes that is taken before a read and given back when the last user lets go.
class Engine {
 public:
  Engine(Plan& plan, Threads& threads, Ingest& ingest, StepHandler steps);
  ~Engine();

  /// Run until the sources are exhausted or stop() is called, then drain; call it once. The last
  /// batch of a graph that does not train may be smaller. Throws the first error of any node, with
  /// node and item.
  EngineReport run();
  /// Ask for the end; what is in flight is dropped. May be called from any thread or callback.
  void stop();
  /// Called with the first error as soon as it happens, from the thread it happened on.
  void on_failure(std::function<void(const Failure&)> callback);
  /// Whether every sink has had enough. May be asked from any thread.
  bool sinks_satisfied() const;
  /// Asked before each read whether to end early, unless StepHandler::ends_run.
  void interrupted_by(std::function<bool()> interrupted);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trib::pipeline
