#include "model/aggregation/flat_aggregation.h"

#include <algorithm>

#include "model/tokenizer.h"
#include "ops/kernels/copy_rows.h"

namespace trib::model {

struct FlatAggregation::State final : LayerState {
  std::unique_ptr<LayerState> use;
};

FlatAggregation::FlatAggregation(ParameterTable& table, const ModelPlan& plan,
                                 const AggregationOptions& options)
    : AggregationLayer(plan),
      is_fused_(options.fused),
      splits_heads_(options.kind == AggregationKind::cross_attention && !plan.group.is_alone() &&
                    !(options.fused && plan.division.distributed)) {
  for (int rank = 0; rank < plan.group.size(); ++rank) {
    token_counts_.push_back(plan.division.own_channels(plan.all_channels(), rank).size() *
                            plan.dim);
  }
  const bool by_channels = is_fused_ && plan.division.distributed;
  const ReducerPlace place{.query_name = "var_query",
                           .prefix = "var_agg",
                           .sharing = by_channels ? Sharing::channels : Sharing::heads};
  reducer_ = options.kind == AggregationKind::linear
                 ? make_channel_linear(table, plan, place, plan.all_channels())
                 : make_channel_cross_attention(table, plan, place, options.heads);
  if (is_fused_ && splits_heads_) {
    // Each rank sees its own heads alone.
    const Tokenizer& tokenizer = *plan.tokenizer;
    for (const ParameterId id : {tokenizer.weights(), tokenizer.biases(), tokenizer.var_embed()}) {
      table.mark_partial_gradient(id);
    }
  }
}

bool FlatAggregation::gathers_tokens() const {
  return !is_fused_ && plan_.division.distributed && !plan_.group.is_alone();
}

void FlatAggregation::merge(Step& step, float* x_rd) const {
  auto& state = step.state_for<State>(index());
  const Range own{0, plan_.channels()};
  if (is_fused_) {
    reducer_->forward_patches(step, state.use, x_rd, own);
    return;
  }
  const std::int64_t positions = rows(step);
  float* tokens_rcd = step.arena.floats(positions * plan_.all_channels() * plan_.dim);
  if (gathers_tokens()) {
    const StepArena::Scope scope(step.arena);
    float* own_rcd = step.arena.floats(positions * own.size() * plan_.dim);
    float* scratch = step.arena.floats(positions * plan_.all_channels() * plan_.dim);
    plan_.tokenizer->tokens(step, own_rcd, own);
    plan_.group.all_gather_columns(tokens_rcd, own_rcd, positions, token_counts_, scratch);
  } else {
    plan_.tokenizer->tokens(step, tokens_rcd, own);
  }
  reducer_->forward_tokens(step, state.use, x_rd, tokens_rcd, positions, plan_.all_channels());
}

void FlatAggregation::backward(Step& step, Parameters& parameters) const {
  const LayerState& use = *step.state<State>(index()).use;
  const float* d_x_rd = step.d_x_bnd.data<float>();
  if (is_fused_) return reducer_->backward_patches(step, parameters, use, d_x_rd);

  const std::int64_t positions = rows(step);
  const std::int64_t all_width = plan_.all_channels() * plan_.dim;
  const Range own{0, plan_.channels()};
  float* d_own_rcd = step.arena.floats(positions * own.size() * plan_.dim);
  step.channels.d_tokens.push_back({own, d_own_rcd});
  if (!gathers_tokens()) {
    reducer_->backward_tokens(step, parameters, use, d_own_rcd, d_x_rd);
    if (splits_heads_) plan_.group.all_reduce(d_own_rcd, positions * all_width);
    return;
  }
  const StepArena::Scope scope(step.arena);
  float* d_tokens_rcd = step.arena.floats(positions * all_width);
  reducer_->backward_tokens(step, parameters, use, d_tokens_rcd, d_x_rd);
  if (splits_heads_) {
    float* scratch = step.arena.floats(positions * all_width);
    plan_.group.reduce_scatter_columns(d_own_rcd, d_tokens_rcd, positions, token_counts_, scratch);
  } else {
    ops::copy_rows(d_own_rcd, own.size() * plan_.dim,
                   d_tokens_rcd + plan_.own_channels.begin * plan_.dim, all_width, positions,
                   own.size() * plan_.dim);
  }
}

LayerMemory FlatAggregation::merge_memory(std::int64_t rows) const {
  if (is_fused_) return reducer_->patches_memory(rows, plan_.channels());
  const std::int64_t all = arena_bytes(rows * plan_.all_channels() * plan_.dim);
  const std::int64_t own = arena_bytes(rows * plan_.channels() * plan_.dim);
  LayerMemory memory = reducer_->tokens_memory(rows, plan_.all_channels());
  memory.saved += all;
  memory.passed_back = own;
  if (!gathers_tokens()) return memory;
  // The gather happens before the reducer takes its share.
  memory.forward_scratch = std::max(memory.forward_scratch, own + all - memory.saved + all);
  memory.backward_scratch =
      all + std::max(memory.backward_scratch, splits_heads_ ? all : std::int64_t{0});
  return memory;
}

std::int64_t FlatAggregation::flops(std::int64_t batch) const {
  const std::int64_t rows = batch * plan_.num_visible;
  return is_fused_ ? reducer_->patches_flops(rows, plan_.channels())
                   : reducer_->tokens_flops(rows, plan_.all_channels());
}

}  // namespace trib::model
