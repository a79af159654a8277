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
                                      const std::vector<std::string>& own,
                                      const Division& division) {
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  std::vector<std::int64_t> positions, others;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    if (!has(channels, targets[t])) {
      others.push_back(static_cast<std::int64_t>(t));
    } else if (has(own, targets[t])) {
      positions.push_back(static_cast<std::int64_t>(t));
    }
  }
  const Range dealt = division.own_share(std::ssize(others));
  positions.insert(positions.end(), others.begin() + dealt.begin, others.begin() + dealt.end);
  std::sort(positions.begin(), positions.end());
  return positions;
}

}  // namespace trib::model
