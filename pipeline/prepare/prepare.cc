#include "pipeline/prepare/prepare.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/prepared/prepared_source.h"
#include "ops/base/error.h"
#include "pipeline/engine/rank_group.h"
#include "pipeline/engine/threads.h"
#include "pipeline/engine/warnings.h"
#include "pipeline/graph/value_json.h"
#include "pipeline/observe/progress.h"
#include "pipeline/observe/run_folder.h"
#include "pipeline/prepare/data_pass.h"
#include "pipeline/prepare/prepared_split.h"

namespace trib::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Split split_named(const std::string& name) {
  return name == "eval" ? Split::eval : Split::train;
}

/// One rank's part in preparing.
class Preparation {
 public:
  Preparation(const PrepareOptions& options, const Registry& registry)
      : options_(options), registry_(registry) {}

  int execute() {
    return run_data_pass(
        ranks_,
        [&]() -> const Plan& {
          prepare();
          return ingest_graph_->plan();
        },
        [&] { work(); });
  }

 private:
  void prepare() {
    graph_ = load_graph(options_.graph, options_.sets, registry_);
    if (ranks_.leads()) print_warnings(*graph_);
    const std::size_t node = options_.node.empty() ? only_node_of_type(*graph_, "batch")
                                                   : find_node(*graph_, options_.node);
    const NodeDefinition& definition = graph_->nodes[node];
    node_ = definition.name;
    const bool is_batch = definition.type() == "batch";
    const std::vector<std::size_t> ends =
        is_batch ? definition.from : std::vector<std::size_t>{node};
    ingest_graph_.emplace(*graph_, ends, registry_, ranks_.size(), ranks_.rank());
    if (ranks_.leads()) print_warnings(ingest_graph_->plan());
    info_ = ingest_graph_->ends().front();
    if (is_batch) {
      const std::unique_ptr<Stage> stage =
          registry_.create("batch", {definition.name, definition.parameters, graph_->seed(), 1, 0});
      auto& batch = dynamic_cast<BatchStage&>(*stage);
      batch.prepare(ingest_graph_->ends());  // refuses what cannot be stacked
      batch_size_ = batch.batch_size();
      shuffle_window_ = batch.shuffle_window();
    } else if (!info_.extents_agree) {
      throw ConfigError(fmt::format(
          "node '{}': its images differ in size; prepare what 'crop' makes of them", node_));
    }
  }

  // Before the samples are measured nobody knows what they are normalised by.
  PreparedSplit split_of(const std::string& name) const {
    const Split split = split_named(name);
    SamplerOptions sampler = ingest_graph_->plan().sampler_options(split);
    sampler.ranks = 1;
    sampler.rank = 0;
    sampler.batch_size = batch_size_;
    sampler.shuffle_window = split == Split::train ? shuffle_window_ : 0;
    sampler.epochs = split == Split::train ? options_.epochs : 1;
    const Sampler stream(sampler);

    io::PreparedHead head;
    head.layout.channels = info_.channels;
    head.layout.targets = info_.targets;
    head.layout.extent = info_.extent;
    head.layout.type = options_.type;
    head.layout.zstd_level = options_.zstd_level;
    head.grid = info_.grid;
    if (info_.statistics != nullptr) {
      head.scaling = {info_.statistics->channels, info_.statistics->mean, info_.statistics->std};
    }
    head.split = name;
    head.positions = stream.samples_per_epoch() * sampler.epochs;
    head.shard_samples =
        options_.shard_samples > 0
            ? options_.shard_samples
            : std::max<std::int64_t>(1, options_.shard_bytes / head.layout.sample_bytes());
    head.made_from = made_from(sampler, stream);
    return {options_.out + "/" + name, split, std::move(head), std::move(sampler)};
  }

  std::string made_from(const SamplerOptions& sampler, const Sampler& stream) const {
    Json stages = Json::array();
    for (const NodeDefinition& node : ingest_graph_->nodes()) {
      Json parameters = Json::object();
      for (const ParameterValue& value : node.parameters.all()) {
        parameters[value.spec.name] = json_value(value);
      }
      stages.push_back({{"name", node.name}, {"type", node.type()}, {"parameters", parameters}});
    }
    return json_text({{"graph", options_.graph},
                      {"node", node_},
                      {"seed", graph_->seed()},
                      {"epochs", sampler.epochs},
                      {"samples_per_epoch", stream.samples_per_epoch()},
                      {"batch_size", sampler.batch_size},
                      {"shuffle", sampler.shuffle_window},
                      {"stream", fmt::format("{:016x}", stream.fingerprint())},
                      {"stages", stages}});
  }

  void work() {
    Threads threads(1, static_cast<int>(graph_->ingest.integer("threads")));
    Progress progress(ranks_.leads() && !options_.quiet);
    Ingest ingest(ingest_graph_->plan(), threads);
    create_folder(options_.out);
    progress.begin("measuring the data", 0);
    ingest.measure(ranks_.communicator(), options_.out);
    std::vector<PreparedSplit> splits;
    for (const std::string& name : options_.splits) {
      PreparedSplit split = split_of(name);
      if (split.head().positions > 0) {
        splits.push_back(std::move(split));
      } else if (options_.splits.size() == 1) {
        throw ConfigError(fmt::format("split '{}' is asked for, and has no samples", name));
      }
    }
    if (ranks_.leads()) {
      for (const PreparedSplit& split : splits) split.open();
    }
    ranks_.barrier();
    if (!options_.finish_only) {
      for (const PreparedSplit& split : splits) write(split, ingest, progress);
      ranks_.barrier();
    }
    progress.clear();
    if (!ranks_.leads()) return;
    for (const PreparedSplit& split : splits) finish(split);
  }

  void write(const PreparedSplit& split, const Ingest& ingest, Progress& progress) {
    split.open();
    std::vector<std::int64_t> own;
    std::int64_t samples = 0;
    for (std::int64_t shard = 0; shard < split.head().num_shards(); ++shard) {
      if (!options_.part.contains(shard, ranks_.size(), ranks_.rank())) continue;
      if (split.has(shard)) continue;
      own.push_back(shard);
      samples += split.head().shard_positions(shard).size();
    }
    progress.begin(fmt::format("preparing {}", split.head().split), samples);
    std::atomic<std::int64_t> done{0};
    split.write(own, *ingest_graph_, ingest,
                [&](std::int64_t added) { progress.update(done += added, ""); });
  }

  void finish(const PreparedSplit& split) const {
    const io::PreparedHead& head = split.head();
    const std::vector<std::int64_t> missing = split.finish();
    const std::string folder = options_.out + "/" + head.split;
    if (missing.empty()) {
      if (!options_.quiet) {
        fmt::print("{}: {} shards of {} samples are there, {} positions in all\n", folder,
                   head.num_shards(), head.shard_samples, head.positions);
      }
      return;
    }
    const std::string text = fmt::format("{}: {} of {} shards are missing, the first is {}", folder,
                                         missing.size(), head.num_shards(), missing.front());
    if (options_.finish_only) throw DataError(text);
    if (!options_.quiet) fmt::print("{}; other parts make them\n", text);
  }

  const PrepareOptions& options_;
  const Registry& registry_;
  RankGroup ranks_;
  std::optional<GraphDefinition> graph_;
  std::optional<IngestGraph> ingest_graph_;
  std::string node_;
  StreamInfo info_;
  std::int64_t batch_size_ = 1, shuffle_window_ = 0;
};

}  // namespace

int prepare_samples(const PrepareOptions& options, const Registry& registry) {
  return Preparation(options, registry).execute();
}

int verify_samples(const std::string& folder) {
  std::vector<std::string> found;
  for (const std::string& candidate : {folder, folder + "/train", folder + "/eval"}) {
    if (fs::exists(candidate + "/" + io::kIndexName)) found.push_back(candidate);
  }
  if (found.empty()) {
    throw DataError(
        fmt::format("{}: there is no {} there, nor in train and eval", folder, io::kIndexName));
  }
  bool is_whole = true;
  for (const std::string& set : found) {
    const std::vector<std::string> damages = io::verify_prepared(set);
    for (const std::string& damage : damages) fmt::print("{}\n", damage);
    if (damages.empty()) fmt::print("{}: all checksums agree\n", set);
    is_whole = is_whole && damages.empty();
  }
  return is_whole ? 0 : static_cast<int>(ExitCode::data);
}

}  // namespace trib::pipeline
