// The prepared graph: every stage made, every edge known, nothing read.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/parallel/sharding.h"
#include "ops/base/memory_ledger.h"
#include "ops/comm/mesh.h"
#include "pipeline/engine/sampler.h"
#include "pipeline/graph/graph_definition.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stage/stage.h"

namespace trib::pipeline {

/// A node with its stage. Exactly one of the role pointers is set.
struct PlannedNode {
  const NodeDefinition* definition = nullptr;
  std::shared_ptr<Stage> stage;  ///< shared with reads that may never return
  SourceStage* source = nullptr;
  TransformStage* transform = nullptr;
  BatchStage* batch = nullptr;
  ModelStage* model = nullptr;
  TrainStage* train = nullptr;
  SinkStage* sink = nullptr;

  std::vector<int> inputs;  ///< node numbers
  std::vector<int> outputs;
  StreamInfo info;  ///< of the edge that leaves it
  int layer = -1;   ///< index of the model layer it added

  const std::string& name() const { return definition->name; }
  /// Whether it is on the samples' way from the files to the batch.
  bool is_ingest() const { return source != nullptr || transform != nullptr || batch != nullptr; }
};

/// Where a source's samples go until they are batched or sunk.
struct SourcePath {
  int source = -1;              ///< node number
  std::vector<int> transforms;  ///< node numbers, in order
  int expanding = -1;           ///< the one that cuts pieces, -1 for none
};

/// Limits of the ingest side of a rank.
struct IngestLimits {
  std::int64_t items = 0;        ///< samples in flight
  std::int64_t bytes = 0;        ///< of samples, reads included, and caches
  std::int64_t least_items = 0;  ///< with fewer a batch could never be complete
  std::int64_t least_bytes = 0;
  std::int64_t sample_bytes = 0;   ///< of one sample as it is batched
  std::int64_t collate_bytes = 0;  ///< kept free for stacking a batch
  std::int64_t reads = 0;          ///< images in flight that are not yet samples
  std::int64_t image_bytes = 0;    ///< that all of these hold at most beyond their samples' bytes
  std::int64_t cache_bytes = 0;    ///< of open files and decoded chunks

  /// What is left to reads and samples.
  std::int64_t flow_bytes() const { return bytes - collate_bytes - cache_bytes; }
};

/// What a read holds at most until its samples are at the batch.
struct ReadBytes {
  std::int64_t waiting = 0;  ///< between two stages
  std::int64_t working = 0;  ///< in a stage, where both what goes in and what comes out exist
};

/// The mesh that a graph asks for.
ops::MeshShape mesh_of(const GraphDefinition& graph);

struct PlanOptions {
  /// Of a rank of the graph's mesh.
  static PlanOptions of(const GraphDefinition& graph, int rank, int compute_threads);

  std::uint64_t seed = 0;
  ops::MeshShape mesh;
  ops::MeshCoordinates place;  ///< of this rank
  int compute_threads = 1;

  /// Ranks that share the samples (axes data and shard), and this one's number among them.
  int data_ranks() const { return mesh.size(ops::MeshAxis::samples); }
  int data_rank() const { return place.data * mesh.shard + place.shard; }
};

class Plan {
 public:
  /// Make and prepare all stages. All problems are collected; throws ConfigError (or DataError if
  /// only files are at fault) with one line for each.
  Plan(const GraphDefinition& graph, const Registry& registry, const PlanOptions& options);

  const std::vector<PlannedNode>& nodes() const { return nodes_; }
  /// Number of a node by name, -1 if there is none.
  int find(const std::string& name) const;
  /// Sources in the order of SampleRequest::source.
  const std::vector<SourcePath>& sources() const { return sources_; }
  const IngestLimits& ingest() const { return ingest_; }
  /// Number of the batch node, -1 if the graph ends in samples.
  int batch_node() const { return batch_; }
  /// Samples of a batch on this rank, of a micro-batch if gradients are accumulated; 1 without a
  /// batch node.
  std::int64_t rank_batch_size() const;
  const std::optional<TrainingPlan>& training() const { return training_; }
  /// The model, null if the graph has none.
  std::shared_ptr<model::Model> model() const;
  /// Its parameters, null if the graph has none.
  const model::ParameterTable* parameter_table() const;
  /// Batches of this rank that make one update.
  std::int64_t micro_batches() const { return training_ ? training_->sharding.accumulate : 1; }
  /// How parameters and what belongs to them are shared by the ranks of a training.
  model::ShardingPlan sharding() const;
  /// Training goes on with the samples that are not used up. Measuring the data and limits of the
  /// ingest do not change by it.
  void resume_samples(ConsumedSamples consumed) { consumed_ = std::move(consumed); }
  /// What the sampler of a split needs to know.
  SamplerOptions sampler_options(Split split) const;
  /// Name of the item a request is about. Never throws: asked for where errors are handled.
  std::string describe(Split split, const SampleRequest& request) const;
  /// Bytes that a read holds at most until its samples are ready.
  std::int64_t task_bytes(const ReadTask& task) const;
  /// Peak bytes of this rank by kind.
  std::array<std::int64_t, kMemoryKinds> predicted_bytes() const;
  const PlanOptions& options() const { return options_; }

 private:
  void make_stages(const GraphDefinition& graph, const Registry& registry);
  void make_stage(PlannedNode& node, const Registry& registry);
  model::Division divide_channels() const;
  void prepare_ingest(PlannedNode& node, const Registry& registry, const model::Division& division);
  void divide_into_micro_batches(PlannedNode& batch) const;
  void prepare_rest(PlannedNode& node);
  void share_channels(std::size_t source, const std::vector<bool>& failed);
  void connect_sources();
  SourcePath path_to_source(int from) const;
  void limit_ingest(const GraphDefinition& graph);
  void check_evaluation() const;
  bool holds_out(const SourcePath& path) const;
  std::int64_t pieces(Split split, const SourcePath& path, std::int64_t item) const;
  ReadBytes read_bytes(const SourcePath& path, std::int64_t item, std::int64_t pieces) const;
  std::int64_t image_bytes() const;
  std::int64_t limited_caches(std::int64_t most) const;

  PlanOptions options_;
  model::Precision precision_;
  ConsumedSamples consumed_;
  std::vector<PlannedNode> nodes_;
  std::vector<SourcePath> sources_;
  IngestLimits ingest_;
  int batch_ = -1;
  bool writes_checkpoints_;
  std::optional<TrainingPlan> training_;
};

}  // namespace trib::pipeline
