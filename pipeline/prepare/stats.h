// What `trib stats` does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/prepare/ingest_graph.h"

namespace trib::pipeline {

struct StatsOptions {
  std::string graph;
  std::vector<std::string> sets;
  std::string node;  ///< whose input is measured; empty: the graph's normalize node
  std::string out;   ///< empty: the file that node's `stats` names
  PartOfWork part;
  std::int64_t samples = 0;  ///< 0: all of the training split
  bool quiet = false;
};

/// Measure what flows into a node over the training split and write it to a file; of a part of the
/// work, to a file that merge_statistics() takes. On all ranks; returns the exit code, errors have
/// been printed then. Starts MPI: once a process.
int write_graph_statistics(const StatsOptions& options, const Registry& registry);

/// Put parts together and write the statistics. Returns what to tell. Throws DataError and
/// ConfigError.
std::string merge_statistics(const std::string& out, const std::vector<std::string>& parts);

}  // namespace trib::pipeline
