// What a run came to, as text for people and JSON for programs; and what a plan promises.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "ops/base/memory_ledger.h"
#include "ops/comm/traffic_ledger.h"
#include "pipeline/engine/engine.h"
#include "pipeline/engine/plan.h"
#include "pipeline/run/training_run.h"

namespace trib::pipeline {

struct RunSummary {
  std::string folder;
  int ranks = 1;
  EngineReport engine;  ///< of rank 0
  std::optional<TrainingSummary> training;
  std::array<std::int64_t, kMemoryKinds> predicted_bytes{};
  std::array<MemoryUse, kMemoryKinds> measured{};
  std::int64_t peak_rss_bytes = 0;
  std::int64_t skipped = 0;  ///< images left out, on rank 0
  ops::TrafficLedger::Snapshot traffic{};
};

std::string summary_text(const RunSummary& summary);
std::string summary_json(const RunSummary& summary);

/// What `trib validate` prints: edges with their shapes, the model's size, memory of a rank.
std::string plan_text(const GraphDefinition& graph, const Plan& plan);
std::string plan_json(const GraphDefinition& graph, const Plan& plan);

}  // namespace trib::pipeline
