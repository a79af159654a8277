// The part of a graph that makes samples, for commands that train nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pipeline/engine/plan.h"
#include "pipeline/graph/graph_definition.h"
#include "pipeline/stage/registry.h"

namespace trib::pipeline {

/// The nodes of a graph up to a point, planned: what comes behind it is neither made nor checked.
/// Each way ends in a sink of its own.
class IngestGraph {
 public:
  /// What leaves these nodes (numbers in graph.nodes), on one of `ranks` ranks that share the
  /// samples. Throws ConfigError or DataError as Plan does, and ConfigError for a node whose
  /// samples are batched already.
  IngestGraph(const GraphDefinition& graph, const std::vector<std::size_t>& ends,
              const Registry& registry, int ranks, int rank);

  Plan& plan() { return *plan_; }
  const Plan& plan() const { return *plan_; }
  /// The nodes that are left, without the sinks.
  const std::vector<NodeDefinition>& nodes() const { return nodes_; }
  /// What leaves each end, in the order of `ends`.
  std::vector<StreamInfo> ends() const;

 private:
  GraphDefinition graph_;  // the plan points into it
  std::vector<NodeDefinition> nodes_;
  std::vector<std::string> end_names_;
  std::unique_ptr<Plan> plan_;
};

/// Number of the node of that name. Throws ConfigError naming those that are there.
std::size_t find_node(const GraphDefinition& graph, const std::string& name);

/// Number of the one node of that type. Throws ConfigError, telling to name one, if there are none
/// or several.
std::size_t only_node_of_type(const GraphDefinition& graph, const std::string& type);

/// The i-th of n parts, counted from 1, as the command line says "2/8".
struct PartOfWork {
  int number = 1;
  int parts = 1;

  /// Throws ConfigError unless the text is I/N with 1 <= I <= N.
  static PartOfWork parse(const std::string& text);
  /// Whether piece `index` belongs to it, on this one of several ranks that share the part.
  bool contains(std::int64_t index, int ranks, int rank) const;
};

}  // namespace trib::pipeline
