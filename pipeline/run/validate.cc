#include "pipeline/run/validate.h"

#include <fmt/format.h>

#include "model/model.h"
#include "pipeline/checkpoint/weights.h"
#include "pipeline/engine/plan.h"
#include "pipeline/engine/warnings.h"
#include "pipeline/run/summary.h"

namespace trib::pipeline {

void validate_graph(const ValidateOptions& options, const Registry& registry) {
  const GraphDefinition graph = load_graph(options.graph, options.sets, registry);
  print_warnings(graph);
  const int ranks = graph.ranks();
  // Where division leaves a remainder, the last rank has more.
  const Plan plan(graph, registry,
                  PlanOptions::of(graph, ranks - 1, foresee_threads(ranks, options.bind)));
  print_warnings(plan);
  const auto weights = Weights::of(graph, plan.parameter_table());
  fmt::print("{}", options.json ? plan_json(graph, plan) : plan_text(graph, plan));
  if (weights && !options.json) fmt::print("{}\n", weights->report().text());
}

}  // namespace trib::pipeline
