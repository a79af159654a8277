// Which channels, and which partitions of them, a rank of the tensor axis works on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/base/split.h"

namespace trib::model {

/// How a model is divided over the tensor axis.
struct Division {
  int ranks = 1;  ///< on the tensor axis
  int rank = 0;
  /// Whether each rank works on channels of its own. If not, all ranks work on all of them and
  /// share the attention heads and MLPs alone.
  bool distributed = true;
  /// Groups of channels that D-CHAG aggregates each for itself. A property of the model: the same
  /// number gives the same function on any number of ranks. 0: as many as there are ranks.
  std::int64_t partitions = 0;

  std::int64_t num_partitions() const { return partitions > 0 ? partitions : ranks; }
  /// Partitions of a rank.
  Range own_partitions(int of_rank) const {
    return balanced_part(num_partitions(), of_rank, ranks);
  }
  Range own_partitions() const { return own_partitions(rank); }
  /// Channels of a partition.
  Range partition_channels(std::int64_t partition, std::int64_t channels) const {
    return balanced_part(channels, partition, num_partitions());
  }
  /// Channels of a rank: those of its partitions, or all.
  Range own_channels(std::int64_t channels, int of_rank) const;
  Range own_channels(std::int64_t channels) const { return own_channels(channels, rank); }
  /// This rank's share of things that belong to no partition; all if the channels are not
  /// distributed.
  Range own_share(std::int64_t count) const {
    return distributed ? balanced_part(count, rank, ranks) : Range{0, count};
  }

  /// Throw ConfigError if there are fewer partitions than ranks, or channels than partitions.
  void check(std::int64_t channels) const;
};

/// Positions of the targets a rank predicts: a target that is an input channel too belongs to the
/// rank of that channel, the others are dealt out evenly in order. `channels` are all, `own` those
/// of this rank.
std::vector<std::int64_t> own_targets(const std::vector<std::string>& targets,
                                      const std::vector<std::string>& channels,
                                      const std::vector<std::string>& own,
                                      const Division& division);

}  // namespace trib::model
