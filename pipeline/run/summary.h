// What a run came to, as text for people and JSON for programs; and what a plan promises.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/base/memory_ledger.h"
#include "ops/comm/traffic_ledger.h"
#include "pipeline/engine/engine.h"
#include "pipeline/engine/plan.h"
#include "pipeline/run/training_run.h"

namespace trib::pipeline {

/// What each rank tells of itself; sent as bytes.
struct RankSummary {
  std::int64_t data = 0, shard = 0, tensor = 0;  ///< its place in the mesh
  std::array<std::int64_t, kMemoryKinds> predicted_bytes{};
  std::array<std::int64_t, kMemoryKinds> peak_bytes{};
  std::int64_t peak_rss_bytes = 0;
  std::int64_t skipped = 0;        ///< images left out
  std::int64_t decoded_bytes = 0;  ///< by its readers
};

struct RunSummary {
  std::string folder;
  int ranks = 1;
  EngineReport engine;  ///< of rank 0
  std::optional<TrainingSummary> training;
  std::int64_t steps = 0;                  ///< of the model
  std::vector<RankSummary> all_ranks;      ///< by rank
  ops::TrafficLedger::Snapshot traffic{};  ///< of rank 0

  /// The rank whose memory was fullest.
  const RankSummary& fullest() const;
  /// Images left out. Ranks of the tensor axis leave out the same ones.
  std::int64_t skipped() const;
  std::int64_t decoded_bytes() const;  ///< of all ranks
};

std::string summary_text(const RunSummary& summary);
std::string summary_json(const RunSummary& summary);

/// What `trib validate` prints: edges with their shapes, the model's size, memory of a rank.
std::string plan_text(const GraphDefinition& graph, const Plan& plan);
std::string plan_json(const GraphDefinition& graph, const Plan& plan);

}  // namespace trib::pipeline
