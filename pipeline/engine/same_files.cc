#include "pipeline/engine/same_files.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {

void require_same_files(const Plan& plan, RankGroup& ranks) {
  std::string own;
  for (const SourcePath& path : plan.sources()) {
    const PlannedNode& node = plan.nodes()[static_cast<std::size_t>(path.source)];
    for (const UnreadableFile& file : node.source->unreadable_files()) {
      own += fmt::format("\n  node '{}': {}: {}", node.name(), file.file, file.error);
    }
  }
  const std::vector<std::string> all = ranks.gather(own);
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all.front()) continue;
    const auto list = [](const std::string& text) { return text.empty() ? " nothing" : text; };
    throw DataError(
        fmt::format("ranks cannot open the same files; rank 0 leaves out:{}\nrank {}:{}",
                    list(all.front()), rank, list(all[rank])));
  }
}

}  // namespace trib::pipeline
