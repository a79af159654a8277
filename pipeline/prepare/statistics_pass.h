// Statistics of all samples that arrive at a node, by any number of threads, ranks and jobs.
//
// The samples are cut into blocks by their order in the files, the same ones whoever works on them.
// Moments are merged within a block in that order, and of blocks in theirs: so the same numbers
// come out to the bit, whether one thread has seen all blocks or each job some of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ops/kernels/moments.h"
#include "pipeline/engine/ingest.h"
#include "pipeline/prepare/ingest_graph.h"
#include "pipeline/stages/statistics_file.h"

namespace trib::pipeline {

/// What some jobs or ranks have measured of all blocks.
struct StatisticsPart {
  // Of the whole, the same in all parts.
  std::string graph, node;
  std::vector<io::Channel> channels;  ///< and targets of other names
  GridMark grid;
  std::int64_t samples = 0;
  std::int64_t blocks = 0;
  std::string selection;  ///< hash of the samples in all blocks

  // Of this part.
  std::map<std::int64_t, std::vector<Moments>> moments;  ///< by block, then channel
  std::set<std::string> files;
  std::set<std::string> skipped;  ///< items left out by on_error: skip
  double first_time = io::kUnknown, last_time = io::kUnknown;

  std::string to_json() const;
  /// Throws DataError, naming `from`, if the text is damaged.
  static StatisticsPart from_json(const std::string& text, const std::string& from);
  /// Take over the blocks of another part of the same whole. Throws ConfigError, naming `from`, if
  /// it is a part of something else.
  void merge(const StatisticsPart& other, const std::string& from);
  /// Throws ConfigError if blocks are missing, and DataError if a channel has no value.
  StatisticsFile finished() const;
};

struct StatisticsOptions {
  std::int64_t samples = 0;  ///< measure so many, drawn as a training draws them first; 0: all
  PartOfWork part;
  int ranks = 1, rank = 0;                                   ///< that share the part
  std::function<void(std::int64_t, std::int64_t)> progress;  ///< blocks done, of so many
};

/// Measure what leaves the only end of `graph`, in training.
StatisticsPart measure_statistics(const IngestGraph& graph, const Ingest& ingest,
                                  const StatisticsOptions& options);

}  // namespace trib::pipeline
