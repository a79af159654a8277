#include "model/parallel/division.h"

#include <algorithm>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::model {

Range Division::own_channels(std::int64_t channels, int of_rank) const {
  if (!distributed) return {0, channels};
  const Range own = own_partitions(of_rank);
  const std::int64_t count = num_partitions();
  return {own.begin * channels / count, own.end * channels / count};
}

void Division::check(std::int64_t channels) const {
  if (!distributed) return;
  if (num_partitions() < ranks) {
    throw ConfigError(
        fmt::format("{} partitions of the channels are fewer than the {} tensor ranks; lower "
                    "mesh.tensor to {} or raise partitions to {}",
                    partitions, ranks, partitions, ranks));
  }
  if (num_partitions() > channels) {
    throw ConfigError(
        partitions > 0
            ? fmt::format("{} channels cannot be cut into {} partitions for {} tensor ranks; lower "
                          "partitions, and mesh.tensor if it is more than {}",
                          channels, partitions, ranks, channels)
            : fmt::format("{} channels cannot be divided over {} tensor ranks; lower mesh.tensor",
                          channels, ranks));
  }
}

std::vector<std::int64_t> own_targets(const std::vector<std::string>& targets,
                                      const std::vector<std::string>& channels,
                                      const Division& division) {
  const auto num_channels = static_cast<std::int64_t>(channels.size());
  const auto channel_of = [&](std::int64_t target) {
    const auto found =
        std::find(channels.begin(), channels.end(), targets[static_cast<std::size_t>(target)]);
    return found == channels.end() ? std::int64_t{-1} : found - channels.begin();
  };
  std::vector<std::int64_t> own, others;
  const Range mine = division.own_channels(num_channels);
  for (std::int64_t t = 0; t < static_cast<std::int64_t>(targets.size()); ++t) {
    const std::int64_t channel = channel_of(t);
    if (channel < 0) {
      others.push_back(t);
    } else if (mine.begin <= channel && channel < mine.end) {
      own.push_back(t);
    }
  }
  const Range dealt = division.own_share(std::ssize(others));
  own.insert(own.end(), others.begin() + dealt.begin, others.begin() + dealt.end);
  std::sort(own.begin(), own.end());
  return own;
}

}  // namespace trib::model
