// What users should know of a graph that can be run nevertheless.
#pragma once

#include <string>

#include "pipeline/engine/plan.h"
#include "pipeline/graph/graph_definition.h"

namespace trib::pipeline {

/// A line on stderr.
void warn(const std::string& message);

/// What was found odd about the graph's text.
void print_warnings(const GraphDefinition& graph);

/// What its sources say of their data.
void print_warnings(const Plan& plan);

}  // namespace trib::pipeline
