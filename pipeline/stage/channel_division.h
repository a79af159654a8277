// How the channels of a graph are divided over the ranks of the tensor axis.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace trib::pipeline {

/// What all edges of a graph have in common, from the sources to the model.
struct ChannelDivision {
  int tensor_ranks = 1;
  int tensor_rank = 0;
  bool distributed = true;      ///< false: every rank works on all channels
  std::int64_t partitions = 0;  ///< groups the channels are cut into; 0: as many as tensor ranks
};

/// Half-open range of indices.
using IndexRange = std::pair<std::int64_t, std::int64_t>;

/// The slice of `channels` channels that is this rank's. Partition p of P has the channels
/// [p C / P, (p + 1) C / P), and rank r of T the partitions [r P / T, (r + 1) P / T), rounded down;
/// all channels if they are not distributed. Throws ConfigError if there are more partitions than
/// channels or fewer than ranks.
IndexRange own_channels(std::int64_t channels, const ChannelDivision& division);

/// This rank's share of `count` things that belong to no partition: [r V / T, (r + 1) V / T), all
/// if channels are not distributed.
IndexRange own_share(std::int64_t count, const ChannelDivision& division);

/// Channels and targets by name.
struct ChannelNames {
  std::vector<std::string> channels, targets;
};

}  // namespace trib::pipeline
