#include "pipeline/prepare/ingest_graph.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/graph/suggest.h"

namespace trib::pipeline {
namespace {

std::vector<bool> leading_to(const GraphDefinition& graph, const std::vector<std::size_t>& ends) {
  std::vector<bool> is_needed(graph.nodes.size(), false);
  for (const std::size_t end : ends) is_needed[end] = true;
  // Inputs have smaller numbers.
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    if (!is_needed[i]) continue;
    for (const std::size_t from : graph.nodes[i].from) is_needed[from] = true;
  }
  return is_needed;
}

}  // namespace

IngestGraph::IngestGraph(const GraphDefinition& graph, const std::vector<std::size_t>& ends,
                         const Registry& registry, int ranks, int rank)
    : graph_(graph) {
  const std::vector<bool> is_needed = leading_to(graph, ends);
  std::vector<std::size_t> new_number(graph.nodes.size(), 0);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!is_needed[i]) continue;
    new_number[i] = nodes_.size();
    NodeDefinition node = graph.nodes[i];
    for (std::size_t& from : node.from) from = new_number[from];
    nodes_.push_back(std::move(node));
  }
  graph_.nodes = nodes_;
  const StageDeclaration* sink = registry.find("sink");
  for (const std::size_t end : ends) {
    const NodeDefinition& last = graph.nodes[end];
    end_names_.push_back(last.name);
    NodeDefinition node = last;  // mistakes are shown at its place
    node.name = fmt::format("({})", last.name);
    node.stage = sink;
    node.from = {new_number[end]};
    node.parameters = parameters_from_text(sink->parameters, "{}");
    graph_.nodes.push_back(std::move(node));
  }
  PlanOptions options;
  options.seed = graph.seed();
  options.mesh.data = ranks;
  options.place.data = rank;
  plan_ = std::make_unique<Plan>(graph_, registry, options);
  for (const std::string& name : end_names_) {
    const PlannedNode& node = plan_->nodes()[static_cast<std::size_t>(plan_->find(name))];
    if (node.info.kind == StreamKind::samples) continue;
    throw ConfigError(fmt::format("node '{}' delivers {}; name a node on the samples' way to it",
                                  name, name_of(node.info.kind)));
  }
}

std::vector<StreamInfo> IngestGraph::ends() const {
  std::vector<StreamInfo> infos;
  for (const std::string& name : end_names_) {
    infos.push_back(plan_->nodes()[static_cast<std::size_t>(plan_->find(name))].info);
  }
  return infos;
}

std::size_t find_node(const GraphDefinition& graph, const std::string& name) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].name == name) return i;
    names.push_back(graph.nodes[i].name);
  }
  throw ConfigError(fmt::format("{}: no node '{}'{}; there are {}", graph.file, name,
                                did_you_mean(name, names), fmt::join(names, ", ")));
}

std::size_t only_node_of_type(const GraphDefinition& graph, const std::string& type) {
  std::vector<std::string> names;
  for (const NodeDefinition& node : graph.nodes) {
    if (node.type() == type) names.push_back(node.name);
  }
  if (names.size() == 1) return find_node(graph, names.front());
  throw ConfigError(fmt::format(
      "{}: {} of type '{}'; name the node meant", graph.file,
      names.empty() ? "no node"
                    : fmt::format("{} nodes ({})", names.size(), fmt::join(names, ", ")),
      type));
}

PartOfWork PartOfWork::parse(const std::string& text) {
  PartOfWork part;
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, part.number);
  const bool has_slash = number.ec == std::errc() && number.ptr != end && *number.ptr == '/';
  const auto parts =
      has_slash ? std::from_chars(number.ptr + 1, end, part.parts) : std::from_chars_result{};
  if (!has_slash || parts.ec != std::errc() || parts.ptr != end || part.number < 1 ||
      part.number > part.parts) {
    throw ConfigError(fmt::format("--part {}: expected I/N with 1 <= I <= N, such as 2/8", text));
  }
  return part;
}

bool PartOfWork::contains(std::int64_t index, int ranks, int rank) const {
  return index % parts == number - 1 && index / parts % ranks == rank;
}

}  // namespace trib::pipeline
