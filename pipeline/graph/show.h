// A resolved graph definition for people and for other programs.
#pragma once

#include <string>

#include "pipeline/graph/graph_definition.h"

namespace trib::pipeline {

/// Write the graph as YAML with every value, defaults too, and a comment saying where it came from.
/// Reading it back gives the same graph.
std::string resolved_yaml(const GraphDefinition& graph);

/// Write the graph as JSON: {"name", "files", "settings", "mesh", "ingest", "checkpoints",
/// "weights", "nodes"}, each value as {"value", "from"} with `from` saying where it came from.
std::string resolved_json(const GraphDefinition& graph);

/// Write the nodes and edges in the language of Graphviz's dot.
std::string graphviz(const GraphDefinition& graph);

}  // namespace trib::pipeline
