#include "model/aggregation/dchag_aggregation.h"

#include <algorithm>

#include <fmt/format.h>

#include "model/tokenizer.h"
#include "ops/base/error.h"
#include "ops/kernels/copy_rows.h"

namespace trib::model {

struct DchagAggregation::State final : LayerState {
  /// Of each own partition: its leaves in order, then its root.
  std::vector<std::unique_ptr<LayerState>> uses;
  std::unique_ptr<LayerState> final_use;
};

DchagAggregation::DchagAggregation(ParameterTable& table, const ModelPlan& plan,
                                   const AggregationOptions& options)
    : AggregationLayer(plan),
      is_fused_(options.fused),
      own_partitions_(plan.division.own_partitions()) {
  if (!plan.division.distributed) {
    throw ConfigError("aggregation: hierarchy: dchag needs channels: distributed");
  }
  require_heads("aggregation", options.heads, plan.dim);
  const std::int64_t count = plan.division.num_partitions();
  const std::int64_t smallest = plan.all_channels() / count;
  if (options.tree > smallest) {
    throw ConfigError(
        fmt::format("aggregation: tree {} makes {} groups of the {} channels of a partition",
                    options.tree, options.tree, smallest));
  }
  for (std::int64_t p = 0; p < count; ++p) {
    partitions_.push_back(make_partition(table, options, p));
  }
  for (int rank = 0; rank < plan.group.size(); ++rank) {
    gather_counts_.push_back(plan.division.own_partitions(rank).size() * plan.dim);
  }
  final_ = make_channel_cross_attention(
      table, plan, {.query_name = "var_query", .prefix = "var_agg", .sharing = Sharing::heads},
      options.heads);
}

DchagAggregation::Partition DchagAggregation::make_partition(ParameterTable& table,
                                                             const AggregationOptions& options,
                                                             std::int64_t number) const {
  const std::string prefix = fmt::format("var_aggs.{}", number);
  const bool is_owner = own_partitions_.begin <= number && number < own_partitions_.end;
  const auto make = [&](const std::string& name,
                        std::int64_t inputs) -> std::shared_ptr<ChannelReducer> {
    const ReducerPlace place{.query_name = name + ".var_query",
                             .prefix = name,
                             .sharing = Sharing::none,
                             .is_owner = is_owner};
    if (options.kind == AggregationKind::linear) {
      return make_channel_linear(table, plan_, place, inputs);
    }
    return make_channel_cross_attention(table, plan_, place, options.heads);
  };

  const Range channels = plan_.division.partition_channels(number, plan_.all_channels());
  const std::int64_t groups = std::max<std::int64_t>(options.tree, 1);
  Partition partition;
  for (std::int64_t g = 0; g < groups; ++g) {
    const Range group = balanced_part(channels.size(), g, groups);
    const std::int64_t first = channels.begin - plan_.own_channels.begin;
    partition.groups.push_back({first + group.begin, first + group.end});
  }
  if (options.tree == 0) {
    partition.leaves.push_back(make(prefix, channels.size()));
  } else if (!options.share) {
    for (std::int64_t g = 0; g < groups; ++g) {
      partition.leaves.push_back(make(fmt::format("{}.leaf.{}", prefix, g),
                                      partition.groups[static_cast<std::size_t>(g)].size()));
    }
    partition.root = make(prefix + ".root", groups);
  } else if (options.kind == AggregationKind::linear) {
    // As long as the largest group; smaller ones take the first weights.
    const auto leaf = make(prefix + ".leaf", (channels.size() + groups - 1) / groups);
    partition.leaves.assign(static_cast<std::size_t>(groups), leaf);
    partition.root = make(prefix + ".root", groups);
  } else {
    partition.root = make(prefix, groups);
    partition.leaves.assign(static_cast<std::size_t>(groups), partition.root);
  }
  return partition;
}

void DchagAggregation::merge(Step& step, float* x_rd) const {
  auto& state = step.state_for<State>(index());
  state.uses.resize(num_uses());
  const std::int64_t positions = rows(step), dim = plan_.dim;
  const std::int64_t own_width = own_partitions_.size() * dim, width = num_partitions() * dim;
  float* token_rd = step.arena.floats(positions * dim);
  float* tokens_rpd = step.arena.floats(positions * width);
  float* own_rpd = plan_.group.is_alone() ? tokens_rpd : step.arena.floats(positions * own_width);
  std::unique_ptr<LayerState>* uses = state.uses.data();
  for (std::int64_t i = 0; i < own_partitions_.size(); ++i) {
    merge_partition(step, uses, own(i), token_rd);
    uses += own(i).num_uses();
    ops::copy_rows(own_rpd + i * dim, own_width, token_rd, dim, positions, dim);
  }
  if (!plan_.group.is_alone()) {
    const StepArena::Scope scope(step.arena);
    float* scratch = step.arena.floats(positions * width);
    plan_.group.all_gather_columns(tokens_rpd, own_rpd, positions, gather_counts_, scratch);
  }
  final_->forward_tokens(step, state.final_use, x_rd, tokens_rpd, positions, num_partitions());
}

std::size_t DchagAggregation::num_uses() const {
  std::size_t uses = 0;
  for (std::int64_t i = 0; i < own_partitions_.size(); ++i) uses += own(i).num_uses();
  return uses;
}

void DchagAggregation::merge_partition(Step& step, std::unique_ptr<LayerState>* uses,
                                       const Partition& partition, float* token_rd) const {
  const std::int64_t positions = rows(step), dim = plan_.dim;
  const auto groups = static_cast<std::int64_t>(partition.groups.size());
  float* leaves_rnd = partition.root ? step.arena.floats(positions * groups * dim) : nullptr;
  for (std::int64_t g = 0; g < groups; ++g) {
    const ChannelReducer& leaf = *partition.leaves[static_cast<std::size_t>(g)];
    const Range channels = partition.groups[static_cast<std::size_t>(g)];
    if (is_fused_) {
      leaf.forward_patches(step, uses[g], token_rd, channels);
    } else {
      float* tokens_rcd = step.arena.floats(positions * channels.size() * dim);
      plan_.tokenizer->tokens(step, tokens_rcd, channels);
      leaf.forward_tokens(step, uses[g], token_rd, tokens_rcd, positions, channels.size());
    }
    if (partition.root) {
      ops::copy_rows(leaves_rnd + g * dim, groups * dim, token_rd, dim, positions, dim);
    }
  }
  if (partition.root) {
    partition.root->forward_tokens(step, uses[groups], token_rd, leaves_rnd, positions, groups);
  }
}

void DchagAggregation::backward(Step& step, Parameters& parameters) const {
  const auto& state = step.state<State>(index());
  const std::int64_t positions = rows(step), dim = plan_.dim, width = num_partitions() * dim;
  for (std::int64_t i = 0; !is_fused_ && i < own_partitions_.size(); ++i) {
    for (const Range& channels : own(i).groups) {
      step.channels.d_tokens.push_back(
          {channels, step.arena.floats(positions * channels.size() * dim)});
    }
  }
  const StepArena::Scope scope(step.arena);
  float* d_token_rd = step.arena.floats(positions * dim);
  float* d_tokens_rpd = step.arena.floats(positions * width);
  final_->backward_tokens(step, parameters, *state.final_use, d_tokens_rpd,
                          step.d_x_bnd.data<float>());
  plan_.group.all_reduce(d_tokens_rpd, positions * width);
  std::size_t use = 0, block = 0;
  for (std::int64_t i = 0; i < own_partitions_.size(); ++i) {
    ops::copy_rows(d_token_rd, dim, d_tokens_rpd + (own_partitions_.begin + i) * dim, width,
                   positions, dim);
    partition_backward(step, parameters, own(i), &state.uses[use], block, d_token_rd);
    use += own(i).num_uses();
    block += own(i).groups.size();
  }
}

void DchagAggregation::partition_backward(Step& step, Parameters& parameters,
                                          const Partition& partition,
                                          const std::unique_ptr<LayerState>* uses,
                                          std::size_t block, float* d_token_rd) const {
  const std::int64_t positions = rows(step), dim = plan_.dim;
  const std::size_t groups = partition.groups.size();
  const auto width = static_cast<std::int64_t>(groups) * dim;
  const StepArena::Scope scope(step.arena);
  float* d_leaves_rnd = nullptr;
  if (partition.root) {
    d_leaves_rnd = step.arena.floats(positions * width);
    partition.root->backward_tokens(step, parameters, *uses[groups], d_leaves_rnd, d_token_rd);
  }
  for (std::size_t g = 0; g < groups; ++g) {
    if (partition.root) {
      ops::copy_rows(d_token_rd, dim, d_leaves_rnd + static_cast<std::int64_t>(g) * dim, width,
                     positions, dim);
    }
    const ChannelReducer& leaf = *partition.leaves[g];
    if (is_fused_) {
      leaf.backward_patches(step, parameters, *uses[g], d_token_rd);
    } else {
      leaf.backward_tokens(step, parameters, *uses[g], step.channels.d_tokens[block + g].d_rcd,
                           d_token_rd);
    }
  }
}

LayerMemory DchagAggregation::merge_memory(std::int64_t rows) const {
  const std::int64_t dim = plan_.dim;
  const std::int64_t token = arena_bytes(rows * dim);
  const std::int64_t tokens = arena_bytes(rows * num_partitions() * dim);
  LayerMemory memory;
  memory.saved = token + tokens;
  if (!plan_.group.is_alone()) memory.saved += arena_bytes(rows * own_partitions_.size() * dim);
  std::int64_t forward_peak = 0, backward_scratch = 0;
  const auto use = [&](const LayerMemory& one, std::int64_t held_in_backward) {
    memory.saved += one.saved;
    forward_peak = std::max(forward_peak, memory.saved + one.forward_scratch);
    backward_scratch = std::max(backward_scratch, held_in_backward + one.backward_scratch);
  };
  for (std::int64_t i = 0; i < own_partitions_.size(); ++i) {
    const Partition& partition = own(i);
    const auto groups = static_cast<std::int64_t>(partition.groups.size());
    const std::int64_t leaves = partition.root ? arena_bytes(rows * groups * dim) : 0;
    memory.saved += leaves;
    for (std::size_t g = 0; g < partition.groups.size(); ++g) {
      const std::int64_t channels = partition.groups[g].size();
      const ChannelReducer& leaf = *partition.leaves[g];
      if (is_fused_) {
        use(leaf.patches_memory(rows, channels), leaves);
        continue;
      }
      const std::int64_t leaf_tokens = arena_bytes(rows * channels * dim);
      memory.saved += leaf_tokens;
      memory.passed_back += leaf_tokens;
      use(leaf.tokens_memory(rows, channels), leaves);
    }
    if (partition.root) use(partition.root->tokens_memory(rows, groups), leaves);
  }
  if (!plan_.group.is_alone()) forward_peak = std::max(forward_peak, memory.saved + tokens);
  use(final_->tokens_memory(rows, num_partitions()), 0);
  memory.forward_scratch = forward_peak - memory.saved;
  memory.backward_scratch = token + tokens + backward_scratch;
  return memory;
}

std::int64_t DchagAggregation::flops(std::int64_t batch) const {
  const std::int64_t rows = batch * plan_.num_visible;
  std::int64_t total = final_->tokens_flops(rows, num_partitions());
  for (std::int64_t i = 0; i < own_partitions_.size(); ++i) {
    const Partition& partition = own(i);
    for (std::size_t g = 0; g < partition.groups.size(); ++g) {
      const std::int64_t channels = partition.groups[g].size();
      const ChannelReducer& leaf = *partition.leaves[g];
      total += is_fused_ ? leaf.patches_flops(rows, channels) : leaf.tokens_flops(rows, channels);
    }
    if (partition.root) {
      total +=
          partition.root->tokens_flops(rows, static_cast<std::int64_t>(partition.groups.size()));
    }
  }
  return total;
}

}  // namespace trib::model
