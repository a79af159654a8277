#include "pipeline/engine/plan.h"

#include <algorithm>
#include <exception>

#include <fmt/format.h>

#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/engine/stage_problems.h"
#include "pipeline/graph/diagnostics.h"

namespace trib::pipeline {

ops::MeshShape mesh_of(const GraphDefinition& graph) {
  const auto extent = [&](const char* axis) { return static_cast<int>(graph.mesh.integer(axis)); };
  return {extent("data"), extent("shard"), extent("tensor")};
}

PlanOptions PlanOptions::of(const GraphDefinition& graph, int rank, int compute_threads) {
  PlanOptions options;
  options.seed = graph.seed();
  options.mesh = mesh_of(graph);
  options.place = options.mesh.coordinates(rank);
  options.compute_threads = compute_threads;
  return options;
}

Plan::Plan(const GraphDefinition& graph, const Registry& registry, const PlanOptions& options)
    : options_(options),
      precision_(graph.settings.string("precision") == "bf16" ? model::Precision::bf16
                                                              : model::Precision::fp32),
      writes_checkpoints_(graph.checkpoints.integer("keep") > 0) {
  make_stages(graph, registry);
  connect_sources();
  limit_ingest(graph);
  check_evaluation();
}

int Plan::find(const std::string& name) const {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].definition != nullptr && nodes_[i].name() == name) return static_cast<int>(i);
  }
  return -1;
}

std::shared_ptr<model::Model> Plan::model() const {
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    if (node->info.model != nullptr) return node->info.model;
  }
  return nullptr;
}

const model::ParameterTable* Plan::parameter_table() const {
  const auto of_graph = model();
  return of_graph == nullptr ? nullptr : &of_graph->table();
}

std::int64_t Plan::rank_batch_size() const {
  return batch_ < 0 ? 1 : nodes_[static_cast<std::size_t>(batch_)].info.batch_size;
}

model::ShardingPlan Plan::sharding() const {
  return {model()->table(), training_->sharding, options_.mesh, options_.place};
}

SourcePath Plan::path_to_source(int from) const {
  SourcePath path;
  for (int at = from;;) {
    const PlannedNode& node = nodes_[static_cast<std::size_t>(at)];
    if (node.source != nullptr) {
      path.source = at;
      break;
    }
    path.transforms.insert(path.transforms.begin(), at);
    at = node.inputs.front();
  }
  io::Extent extent = nodes_[static_cast<std::size_t>(path.source)].info.extent;
  for (const int at : path.transforms) {
    const TransformStage& transform = *nodes_[static_cast<std::size_t>(at)].transform;
    if (transform.pieces(Split::train, extent) > 0) {
      if (path.expanding >= 0) {
        throw ConfigError(fmt::format("'{}' and '{}' both cut samples into pieces; one may",
                                      nodes_[static_cast<std::size_t>(path.expanding)].name(),
                                      nodes_[static_cast<std::size_t>(at)].name()));
      }
      path.expanding = at;
    }
    extent = transform.output_extent(extent);
  }
  return path;
}

// Find what every source feeds. All consumers of a source see the same samples, hence the same
// pieces; a batch node, if there is one, takes from every source.
void Plan::connect_sources() {
  StageProblems problems;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const PlannedNode& consumer = nodes_[i];
    const bool takes_samples =
        consumer.batch != nullptr ||
        (consumer.sink != nullptr &&
         nodes_[static_cast<std::size_t>(consumer.inputs.front())].info.kind ==
             StreamKind::samples);
    if (!takes_samples) continue;
    try {
      std::vector<int> fed_by;
      for (const int input : consumer.inputs) {
        SourcePath path = path_to_source(input);
        if (std::find(fed_by.begin(), fed_by.end(), path.source) != fed_by.end()) {
          throw ConfigError(fmt::format("'{}' reaches it on two ways",
                                        nodes_[static_cast<std::size_t>(path.source)].name()));
        }
        fed_by.push_back(path.source);
        const auto known =
            std::find_if(sources_.begin(), sources_.end(),
                         [&](const SourcePath& other) { return other.source == path.source; });
        if (known == sources_.end()) {
          sources_.push_back(std::move(path));
          continue;
        }
        if (known->expanding != path.expanding) {
          throw ConfigError(
              fmt::format("samples of '{}' are cut into pieces on one way and not "
                          "on another",
                          nodes_[static_cast<std::size_t>(path.source)].name()));
        }
        // The way to the batch node is the one evaluation takes.
        if (consumer.batch != nullptr) *known = std::move(path);
      }
    } catch (const Error& error) {
      problems.add(*consumer.definition, error);
    }
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const PlannedNode& node = nodes_[i];
    const auto number = static_cast<int>(i);
    const bool is_end = node.train != nullptr || node.sink != nullptr;
    if (!is_end && node.outputs.empty()) {
      problems.add(*node.definition,
                   ConfigError("leads nowhere; end it with 'train', 'write.tensors' or 'sink'"));
    }
    if (node.info.kind == StreamKind::steps && node.outputs.size() > 1) {
      problems.add(*node.definition, ConfigError("feeds several nodes, but a model is one chain"));
    }
    if (node.source == nullptr || batch_ < 0) continue;
    const auto& batch_inputs = nodes_[static_cast<std::size_t>(batch_)].inputs;
    const bool batched = std::any_of(batch_inputs.begin(), batch_inputs.end(), [&](int input) {
      return path_to_source(input).source == number;
    });
    if (!batched && !node.outputs.empty()) {
      problems.add(*node.definition,
                   ConfigError(fmt::format("does not reach '{}'; give it a graph of its own",
                                           nodes_[static_cast<std::size_t>(batch_)].name())));
    }
  }
  if (nodes_.empty()) throw ConfigError("the graph has no nodes");
  problems.throw_if_any();
}

std::int64_t Plan::pieces(Split split, const SourcePath& path, std::int64_t item) const {
  if (path.expanding < 0) return 1;
  io::Extent extent = nodes_[static_cast<std::size_t>(path.source)].source->extent(split, item);
  for (const int at : path.transforms) {
    const TransformStage& transform = *nodes_[static_cast<std::size_t>(at)].transform;
    if (at == path.expanding) return transform.pieces(split, extent);
    extent = transform.output_extent(extent);
  }
  return 1;
}

bool Plan::holds_out(const SourcePath& path) const {
  return nodes_[static_cast<std::size_t>(path.source)].source->holds_out() ||
         std::any_of(path.transforms.begin(), path.transforms.end(), [&](int at) {
           return nodes_[static_cast<std::size_t>(at)].transform->holds_out();
         });
}

SamplerOptions Plan::sampler_options(Split split) const {
  SamplerOptions options;
  options.seed = options_.seed;
  options.ranks = options_.data_ranks();
  options.rank = options_.data_rank();
  options.batch_size = rank_batch_size() * micro_batches() * options_.data_ranks();
  for (const SourcePath& path : sources_) {
    const SourceStage& source = *nodes_[static_cast<std::size_t>(path.source)].source;
    // What a path without a holdout delivers is trained on: nothing of it may be evaluated on.
    const bool used = split == Split::train || holds_out(path);
    std::vector<std::int32_t> counts(used ? static_cast<std::size_t>(source.items(split)) : 0);
    for (std::size_t item = 0; item < counts.size(); ++item) {
      counts[item] =
          static_cast<std::int32_t>(pieces(split, path, static_cast<std::int64_t>(item)));
    }
    const std::size_t count = counts.size();
    options.pieces.push_back(std::move(counts));
    const ItemOrder order = split == Split::train ? source.order() : ItemOrder::listed;
    options.order.push_back(order);
    std::vector<std::int64_t> groups;
    if (order == ItemOrder::grouped) {
      for (std::size_t item = 0; item < count; ++item) {
        groups.push_back(source.group(split, static_cast<std::int64_t>(item)));
      }
    }
    options.groups.push_back(std::move(groups));
  }
  if (split == Split::train && batch_ >= 0) {
    options.shuffle_window = nodes_[static_cast<std::size_t>(batch_)].batch->shuffle_window();
  }
  options.epochs = split == Split::train && training_ ? 0 : 1;
  if (split == Split::train) options.consumed = consumed_;
  return options;
}

std::string Plan::describe(Split split, const SampleRequest& request) const {
  const SourcePath& path = sources_[static_cast<std::size_t>(request.source)];
  try {
    return nodes_[static_cast<std::size_t>(path.source)].source->describe(split, request.item);
  } catch (const std::exception&) {
    return fmt::format("item {}", request.item);
  }
}

void Plan::check_evaluation() const {
  if (!training_ || training_->evaluate_every == 0) return;
  Diagnostics problems;
  const NodeDefinition& train = *nodes_[static_cast<std::size_t>(find(training_->node))].definition;
  if (std::none_of(sources_.begin(), sources_.end(),
                   [&](const SourcePath& path) { return holds_out(path); })) {
    problems.add(train.mark, train.name,
                 "evaluates on samples that are held out, but no stage holds any out: set "
                 "'holdout' on the reader or on crop, or evaluate_every: 0");
  } else {
    const Sampler sampler(sampler_options(Split::eval));
    if (sampler.samples_per_epoch() < training_->evaluate_samples) {
      problems.add(train.mark, train.name,
                   fmt::format("evaluate_samples is {}, but only {} samples are held out",
                               training_->evaluate_samples, sampler.samples_per_epoch()));
    }
  }
  problems.throw_if_any();
}

}  // namespace trib::pipeline
