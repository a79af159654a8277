#include "pipeline/engine/warnings.h"

#include <cstdio>

#include <fmt/format.h>

namespace trib::pipeline {

void warn(const std::string& message) {
  fmt::print(stderr, "warning: {}\n", message);
  std::fflush(stderr);
}

void print_warnings(const GraphDefinition& graph) {
  for (const Problem& warning : graph.warnings) warn(warning.text());
}

void print_warnings(const Plan& plan) {
  for (const PlannedNode& node : plan.nodes()) {
    if (node.source == nullptr) continue;
    for (const std::string& warning : node.source->warnings()) {
      warn(fmt::format("node '{}': {}", node.name(), warning));
    }
  }
}

}  // namespace trib::pipeline
