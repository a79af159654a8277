// Preparing one split of a graph: which samples, in which shards, and their writing.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/prepared/prepared_index.h"
#include "pipeline/engine/ingest.h"
#include "pipeline/engine/sampler.h"
#include "pipeline/prepare/ingest_graph.h"

namespace trib::pipeline {

/// Reads by ranges of positions, ascending.
class TaskStream {
 public:
  explicit TaskStream(SamplerOptions options) : sampler_(std::move(options)) {}
  /// All reads for the positions of a range, with these positions alone.
  std::vector<ReadTask> take(const Range& positions);

 private:
  void deal(ReadTask task, const Range& positions, std::vector<ReadTask>& taken);

  Sampler sampler_;
  std::vector<ReadTask> rest_;  // of later positions
};

class PreparedSplit {
 public:
  /// What will be written below `folder`. `sampler` lists the split's stream for one rank.
  PreparedSplit(std::string folder, Split split, io::PreparedHead head, SamplerOptions sampler);

  const io::PreparedHead& head() const { return head_; }
  /// Create the folder, and note in it what is prepared there. Throws ConfigError, saying what
  /// differs, if something else is.
  void open() const;
  /// Whether a shard is there, whole. One that is damaged counts as missing.
  bool has(std::int64_t shard) const;
  /// Write some shards, ascending. `progress` is told how many samples were added.
  void write(const std::vector<std::int64_t>& shards, const IngestGraph& graph,
             const Ingest& ingest, const std::function<void(std::int64_t)>& progress) const;
  /// Numbers of the shards that are not there. If none is missing, write the index, and statistics
  /// of the samples.
  std::vector<std::int64_t> finish() const;

 private:
  void write_shard(std::int64_t shard, std::vector<ReadTask> tasks, const IngestGraph& graph,
                   const Ingest& ingest, const std::function<void(std::int64_t)>& progress) const;

  std::string folder_;
  Split split_;
  io::PreparedHead head_;
  SamplerOptions sampler_;
};

}  // namespace trib::pipeline
