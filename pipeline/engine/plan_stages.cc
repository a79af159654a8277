// Plan: making the stages and preparing them.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/engine/channel_slices.h"
#include "pipeline/engine/plan.h"
#include "pipeline/engine/prepare_in_time.h"
#include "pipeline/engine/stage_problems.h"

namespace trib::pipeline {
namespace {

template <class T>
T* as(Stage* stage) {
  return dynamic_cast<T*>(stage);
}

void require(const PlannedNode& input, StreamKind kind, const char* needs) {
  if (input.info.kind == kind) return;
  throw ConfigError(
      fmt::format("needs {}, but '{}' delivers {}", needs, input.name(), name_of(input.info.kind)));
}

/// Node numbers of the inputs of a node that needs some.
const std::vector<int>& checked_inputs(const PlannedNode& node) {
  if (node.inputs.empty()) throw ConfigError("has no input; give it a 'from'");
  if (node.batch == nullptr && node.inputs.size() != 1) {
    throw ConfigError("takes one input; only 'batch' joins several");
  }
  return node.inputs;
}

}  // namespace

void Plan::make_stages(const GraphDefinition& graph, const Registry& registry) {
  StageProblems problems;
  nodes_.resize(graph.nodes.size());
  std::vector<bool> failed(nodes_.size(), false);
  const auto attempt = [&](std::size_t i, const auto& action) {
    try {
      action(nodes_[i]);
    } catch (const Error& error) {
      problems.add(*nodes_[i].definition, error);
      failed[i] = true;
    }
  };
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i].definition = &graph.nodes[i];
    for (const std::size_t from : graph.nodes[i].from) {
      nodes_[i].inputs.push_back(static_cast<int>(from));
      nodes_[from].outputs.push_back(static_cast<int>(i));
    }
    attempt(i, [&](PlannedNode& node) { make_stage(node, registry); });
  }
  // What depends on a broken node cannot be judged.
  const auto attempt_each = [&](bool is_ingest, const auto& action) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const std::vector<int>& inputs = nodes_[i].inputs;
      if (failed[i] || nodes_[i].is_ingest() != is_ingest) continue;
      failed[i] = std::any_of(inputs.begin(), inputs.end(),
                              [&](int input) { return failed[static_cast<std::size_t>(input)]; });
      if (!failed[i]) attempt(i, action);
    }
  };
  const model::Division division = divide_channels();
  attempt_each(true, [&](PlannedNode& node) { prepare_ingest(node, registry, division); });
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].source == nullptr || failed[i]) continue;
    attempt(batch_ >= 0 ? static_cast<std::size_t>(batch_) : i,
            [&](PlannedNode&) { share_channels(i, failed); });
  }
  attempt_each(false, [&](PlannedNode& node) { prepare_rest(node); });
  problems.throw_if_any();
}

void Plan::make_stage(PlannedNode& node, const Registry& registry) {
  const NodeDefinition& definition = *node.definition;
  node.stage =
      registry.create(definition.type(), {definition.name, definition.parameters, options_.seed,
                                          options_.data_ranks(), options_.data_rank(),
                                          options_.mesh.tensor, options_.place.tensor, precision_});
  node.source = as<SourceStage>(node.stage.get());
  node.transform = as<TransformStage>(node.stage.get());
  node.batch = as<BatchStage>(node.stage.get());
  node.model = as<ModelStage>(node.stage.get());
  node.train = as<TrainStage>(node.stage.get());
  node.sink = as<SinkStage>(node.stage.get());
  // Known before a model is prepared, for stages that want samples and are prepared earlier.
  if (node.model != nullptr) node.info.kind = StreamKind::steps;
}

// The model may have a say in how the channels are divided.
model::Division Plan::divide_channels() const {
  model::Division division{options_.mesh.tensor, options_.place.tensor};
  for (const PlannedNode& node : nodes_) {
    if (node.model != nullptr) node.model->divide(division);
  }
  return division;
}

void Plan::prepare_ingest(PlannedNode& node, const Registry& registry,
                          const model::Division& division) {
  if (node.source != nullptr) {
    bool is_first = true;
    node.info = prepare_in_time([&] {
      if (!std::exchange(is_first, false)) make_stage(node, registry);
      return node.stage;
    });
    if (node.source->items(Split::train) == 0) throw DataError("there is nothing to read");
  } else {
    std::vector<StreamInfo> inputs;
    for (const int input : checked_inputs(node)) {
      require(nodes_[static_cast<std::size_t>(input)], StreamKind::samples, "samples");
      inputs.push_back(nodes_[static_cast<std::size_t>(input)].info);
    }
    if (node.batch != nullptr) {
      if (batch_ >= 0) {
        throw ConfigError(fmt::format("a graph has one batch node, and '{}' is one already",
                                      nodes_[static_cast<std::size_t>(batch_)].name()));
      }
      node.info = node.batch->prepare(inputs);
      divide_into_micro_batches(node);
      batch_ = static_cast<int>(&node - nodes_.data());
    } else {
      node.info = node.transform->prepare(inputs.front());
    }
  }
  node.info.division = division;
  node.info.own_all();
}

// A training may make one update of several batches.
void Plan::divide_into_micro_batches(PlannedNode& batch) const {
  for (const PlannedNode& node : nodes_) {
    if (node.train == nullptr) continue;
    const std::int64_t parts = node.train->micro_batches();
    if (batch.info.batch_size % parts != 0) {
      throw ConfigError(fmt::format(
          "size {} gives each rank {} samples, which cannot be split evenly into the {} "
          "micro-batches of '{}' (accumulate)",
          batch.batch->batch_size(), batch.info.batch_size, parts, node.name()));
    }
    batch.info.batch_size /= parts;
  }
}

// Tell all stages on the ways from a source which channels are this rank's: a slice of those that
// arrive at the batch, or else at the first sink.
void Plan::share_channels(std::size_t source, const std::vector<bool>& failed) {
  std::vector<const StreamInfo*> ends;
  if (batch_ >= 0) ends.push_back(&nodes_[static_cast<std::size_t>(batch_)].info);
  std::vector<PlannedNode*> stages;
  std::vector<bool> is_behind(nodes_.size(), false);
  for (std::size_t i = source; i < nodes_.size(); ++i) {
    PlannedNode& node = nodes_[i];
    is_behind[i] = i == source || (node.transform != nullptr && !failed[i] &&
                                   is_behind[static_cast<std::size_t>(node.inputs.front())]);
    if (!is_behind[i]) continue;
    stages.push_back(&node);
    const bool feeds_sink = std::any_of(node.outputs.begin(), node.outputs.end(), [&](int output) {
      return nodes_[static_cast<std::size_t>(output)].sink != nullptr;
    });
    if (feeds_sink) ends.push_back(&node.info);
  }
  if (ends.empty()) return;  // leads nowhere, which connect_sources() finds fault with
  const ChannelNames own = own_names(ends);
  for (PlannedNode* node : stages) {
    if (node->source != nullptr) node->source->keep(own);
    if (node->transform != nullptr) node->transform->keep(own);
    node->info.own(own);
  }
  if (batch_ >= 0) nodes_[static_cast<std::size_t>(batch_)].info.own(own);
}

void Plan::prepare_rest(PlannedNode& node) {
  const PlannedNode& input = nodes_[static_cast<std::size_t>(checked_inputs(node).front())];
  if (node.model != nullptr) {
    node.info = node.model->prepare(input.info);
    node.layer = static_cast<int>(node.info.model->layers().size()) - 1;
  } else if (node.train != nullptr) {
    require(input, StreamKind::steps, "a model");
    if (training_) throw ConfigError("a graph trains one model, and this is the second 'train'");
    training_ = node.train->prepare(input.info);
    static_cast<void>(sharding());  // refuses what the mesh does not allow
  } else if (node.sink != nullptr) {
    node.sink->prepare(input.info, input.name());
  }
}

}  // namespace trib::pipeline
