// What all aggregations have in common: they turn the positions of a step into step.x_bnd.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/arena_count.h"
#include "model/plan.h"

namespace trib::model {

class AggregationLayer : public Layer {
 public:
  explicit AggregationLayer(const ModelPlan& plan) : plan_(plan) {}

  void forward(Step& step) const final {
    // The output comes first in the arena: it stays when nothing else is kept.
    step.x_bnd = step.arena.tensor({step.batch(), plan_.num_visible, plan_.dim});
    std::optional<StepArena::Scope> scope;
    if (!step.training) scope.emplace(step.arena);
    merge(step, step.x_bnd.data<float>());
  }

  LayerMemory memory(std::int64_t batch, bool training) const final {
    const std::int64_t rows = batch * plan_.num_visible;
    const std::int64_t output = arena_bytes(rows * plan_.dim);
    LayerMemory memory = merge_memory(rows);
    if (!training) {
      return {.saved = output, .forward_scratch = memory.saved + memory.forward_scratch};
    }
    memory.saved += output;
    return memory;
  }

  std::vector<Output> outputs(const Step& step) const final { return {{"x", step.x_bnd}}; }

 protected:
  std::int64_t rows(const Step& step) const { return step.batch() * plan_.num_visible; }

  /// Compute x_rd, keep what backward needs.
  virtual void merge(Step& step, float* x_rd) const = 0;
  /// Bytes that merge and backward take, as if for training.
  virtual LayerMemory merge_memory(std::int64_t rows) const = 0;

  const ModelPlan& plan_;
};

}  // namespace trib::model
