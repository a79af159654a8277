#include "pipeline/prepare/stats.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <unistd.h>

#include "ops/base/error.h"
#include "pipeline/engine/ingest.h"
#include "pipeline/engine/rank_group.h"
#include "pipeline/engine/threads.h"
#include "pipeline/engine/warnings.h"
#include "pipeline/observe/progress.h"
#include "pipeline/observe/run_folder.h"
#include "pipeline/prepare/data_pass.h"
#include "pipeline/prepare/statistics_pass.h"

namespace trib::pipeline {
namespace {

namespace fs = std::filesystem;

/// Statistics of stages before the one measured go here and nowhere else.
class PassingFolder {
 public:
  PassingFolder()
      : path_((fs::temp_directory_path() / fmt::format("trib-stats-{}", ::getpid())).string()) {
    create_folder(path_);
  }
  ~PassingFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PassingFolder(const PassingFolder&) = delete;
  PassingFolder& operator=(const PassingFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string table_of(const StatisticsFile& statistics) {
  std::size_t width = 7;
  for (const ChannelSummary& channel : statistics.channels) {
    width = std::max(width, channel.name.size());
  }
  std::string text = fmt::format("{:<{}} {:>12} {:>12} {:>12} {:>12} {:>8}  units\n", "channel",
                                 width, "mean", "std", "min", "max", "valid");
  for (const ChannelSummary& c : statistics.channels) {
    text += fmt::format("{:<{}} {:>12.6g} {:>12.6g} {:>12.6g} {:>12.6g} {:>7.2f}%  {}\n", c.name,
                        width, c.mean, c.std, c.min, c.max, 100 * c.count / c.total, c.units);
  }
  return text;
}

void write_beside(const std::string& path, const std::function<void()>& write) {
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty()) create_folder(folder.string());
  write();
}

/// One rank's part in measuring.
class Stats {
 public:
  Stats(const StatsOptions& options, const Registry& registry)
      : options_(options), registry_(registry) {}

  int execute() {
    return run_data_pass(
        ranks_,
        [&]() -> const Plan& {
          prepare();
          return ingest_graph_->plan();
        },
        [&] { measure(); });
  }

 private:
  void prepare() {
    graph_ = load_graph(options_.graph, options_.sets, registry_);
    if (ranks_.leads()) print_warnings(*graph_);
    const std::size_t node = options_.node.empty() ? only_node_of_type(*graph_, "normalize")
                                                   : find_node(*graph_, options_.node);
    const NodeDefinition& definition = graph_->nodes[node];
    if (definition.from.size() != 1) {
      throw ConfigError(fmt::format("node '{}' has {} inputs; name one with a single input",
                                    definition.name, definition.from.size()));
    }
    node_ = definition.name;
    out_ = out_path(definition);
    ingest_graph_.emplace(*graph_, definition.from, registry_, ranks_.size(), ranks_.rank());
    if (ranks_.leads()) print_warnings(ingest_graph_->plan());
    if (ingest_graph_->plan().sources().size() != 1) {
      throw ConfigError(fmt::format("node '{}' is behind a batch; name one before it", node_));
    }
  }

  std::string out_path(const NodeDefinition& definition) const {
    std::string path = options_.out;
    if (path.empty() && definition.type() == "normalize" &&
        definition.parameters.string("stats") != "auto") {
      path = definition.parameters.string("stats");
    }
    if (path.empty()) {
      throw ConfigError(fmt::format(
          "node '{}' names no file for its statistics; name one with --out FILE{}", definition.name,
          definition.type() == "normalize"
              ? fmt::format(", and have it used with --set {}.stats=FILE", definition.name)
              : ""));
    }
    if (options_.part.parts > 1 && options_.out.empty()) {
      path += fmt::format(".part-{}-of-{}", options_.part.number, options_.part.parts);
    }
    return path;
  }

  void measure() {
    Threads threads(1, static_cast<int>(graph_->ingest.integer("threads")));
    Progress progress(ranks_.leads() && !options_.quiet);
    Ingest ingest(ingest_graph_->plan(), threads);
    {
      const PassingFolder folder;
      ingest.measure(ranks_.communicator(), folder.path());
    }
    StatisticsOptions options;
    options.samples = options_.samples;
    options.part = options_.part;
    options.ranks = ranks_.size();
    options.rank = ranks_.rank();
    bool began = false;
    options.progress = [&](std::int64_t done, std::int64_t total) {
      if (!began) progress.begin("measuring", total);
      began = true;
      progress.update(done, "");
    };
    StatisticsPart own = measure_statistics(*ingest_graph_, ingest, options);
    own.graph = options_.graph;
    own.node = node_;
    StatisticsPart all = std::move(own);
    const std::vector<std::string> of_ranks = ranks_.gather(all.to_json());
    if (!ranks_.leads()) return;
    for (int rank = 1; rank < ranks_.size(); ++rank) {
      const std::string from = fmt::format("rank {}", rank);
      all.merge(StatisticsPart::from_json(of_ranks[static_cast<std::size_t>(rank)], from), from);
    }
    progress.clear();
    for (const std::string& item : all.skipped) fmt::print(stderr, "skipped: {}\n", item);
    if (options_.part.parts > 1) {
      write_beside(out_, [&] { write_text_file(out_, all.to_json()); });
      if (options_.quiet) return;
      fmt::print("{}: {} of {} blocks; when all parts are there: trib stats --merge FILE PART...\n",
                 out_, all.moments.size(), all.blocks);
      return;
    }
    const StatisticsFile statistics = all.finished();
    write_beside(out_, [&] { write_statistics(out_, statistics); });
    if (options_.quiet) return;
    fmt::print("{}{}: {} samples into '{}'\n", table_of(statistics), out_, all.samples, node_);
  }

  const StatsOptions& options_;
  const Registry& registry_;
  RankGroup ranks_;
  std::optional<GraphDefinition> graph_;
  std::optional<IngestGraph> ingest_graph_;
  std::string node_, out_;
};

}  // namespace

int write_graph_statistics(const StatsOptions& options, const Registry& registry) {
  return Stats(options, registry).execute();
}

std::string merge_statistics(const std::string& out, const std::vector<std::string>& parts) {
  std::optional<StatisticsPart> all;
  for (const std::string& path : parts) {
    const std::ifstream file(path);
    if (!file) throw DataError(fmt::format("{}: cannot be read", path));
    std::ostringstream text;
    text << file.rdbuf();
    StatisticsPart part = StatisticsPart::from_json(text.str(), path);
    if (all) {
      all->merge(part, path);
    } else {
      all = std::move(part);
    }
  }
  if (!all) throw ConfigError("--merge: name the parts to put together");
  const StatisticsFile statistics = all->finished();
  write_beside(out, [&] { write_statistics(out, statistics); });
  return fmt::format("{}{}: {} samples into '{}', from {} parts\n", table_of(statistics), out,
                     all->samples, all->node, parts.size());
}

}  // namespace trib::pipeline
