#include "pipeline/stage/channel_division.h"

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {

IndexRange own_channels(std::int64_t channels, const ChannelDivision& division) {
  if (!division.distributed) return {0, channels};
  const std::int64_t ranks = division.tensor_ranks, rank = division.tensor_rank;
  const std::int64_t partitions = division.partitions > 0 ? division.partitions : ranks;
  if (partitions < ranks) {
    throw ConfigError(
        fmt::format("{} partitions of the channels are fewer than the {} tensor ranks; lower "
                    "mesh.tensor to {} or raise partitions to {}",
                    partitions, ranks, partitions, ranks));
  }
  if (partitions > channels) {
    throw ConfigError(
        division.partitions > 0
            ? fmt::format("{} channels cannot be cut into {} partitions for {} tensor ranks; lower "
                          "partitions, and mesh.tensor if it is more than {}",
                          channels, partitions, ranks, channels)
            : fmt::format("{} channels cannot be divided over {} tensor ranks; lower mesh.tensor",
                          channels, ranks));
  }
  const auto first_channel = [&](std::int64_t of_rank) {
    const std::int64_t first_partition = of_rank * partitions / ranks;
    return first_partition * channels / partitions;
  };
  return {first_channel(rank), first_channel(rank + 1)};
}

IndexRange own_share(std::int64_t count, const ChannelDivision& division) {
  if (!division.distributed) return {0, count};
  const std::int64_t ranks = division.tensor_ranks, rank = division.tensor_rank;
  return {rank * count / ranks, (rank + 1) * count / ranks};
}

}  // namespace trib::pipeline
