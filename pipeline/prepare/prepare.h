// What `trib prepare` does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/prepared/prepared_index.h"
#include "pipeline/prepare/ingest_graph.h"

namespace trib::pipeline {

struct PrepareOptions {
  std::string graph;
  std::vector<std::string> sets;
  std::string out;   ///< folder that gets train/ and eval/
  std::string node;  ///< whose output is prepared; empty: what comes to the batch node
  PartOfWork part;
  std::vector<std::string> splits{"train", "eval"};
  std::int64_t epochs = 1;  ///< of the training split
  std::int64_t shard_bytes = 1'000'000'000;
  std::int64_t shard_samples = 0;  ///< 0: as many as shard_bytes holds
  io::PreparedType type = io::PreparedType::f32;
  int zstd_level = 0;        ///< 0: not compressed
  bool finish_only = false;  ///< write the indices and nothing else
  bool quiet = false;
};

/// Write the samples of a graph as shards in the order of a training, those that are missing; where
/// all are there, the index. On all ranks; returns the exit code, errors have been printed then.
/// Starts MPI: once a process.
int prepare_samples(const PrepareOptions& options, const Registry& registry);

/// Compare all checksums below a folder that was prepared. Prints what it finds; returns the exit
/// code. Throws DataError if nothing was prepared there.
int verify_samples(const std::string& folder);

}  // namespace trib::pipeline
