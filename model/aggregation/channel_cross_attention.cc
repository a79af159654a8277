#include <algorithm>
#include <cmath>
#include <vector>

#include "model/aggregation/channel_reducer.h"
#include "model/arena_count.h"
#include "model/modules.h"
#include "ops/base/parallel.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/channel_attention.h"
#include "ops/kernels/fused_channel_attention.h"

namespace trib::model {
namespace {

// Axes: h head of this rank, a feature of its heads.
class ChannelCrossAttention final : public ChannelReducer {
 public:
  ChannelCrossAttention(ParameterTable& table, const ModelPlan& plan, const ReducerPlace& place,
                        std::int64_t heads)
      : plan_(plan),
        sharing_(plan.group.is_alone() ? Sharing::none : place.sharing),
        head_dim_(plan.dim / heads),
        own_heads_(sharing_ == Sharing::heads ? plan.group.own(heads) : Range{0, heads}),
        query_(table.add({.name = place.query_name,
                          .shape = {1, 1, plan.dim},
                          .decay = false,
                          .split = owned_split(plan, place, 1),
                          .partial_gradient = sharing_ != Sharing::none})),
        q_(table, place.prefix + ".q", plan.dim, plan.dim,
           {.with_bias = false, .split = split_rows(place, 1), .is_fp32 = true}),
        kv_(table, place.prefix + ".kv", plan.dim, 2 * plan.dim,
            {.with_bias = false, .split = split_rows(place, 2), .is_fp32 = true}),
        proj_(table, place.prefix + ".proj", plan.dim, plan.dim,
              {.with_bias = false,
               .split = sharing_ == Sharing::heads ? TensorSplit{1, 1, {own_features()}}
                                                   : owned_split(plan, place, plan.dim),
               .is_fp32 = true}),
        proj_bias_(table.add({.name = place.prefix + ".proj.bias",
                              .shape = {plan.dim},
                              .decay = false,
                              .split = owned_split(plan, place, plan.dim)})) {
    if (sharing_ != Sharing::channels) return;
    // Each rank sees its own channels alone.
    table.mark_partial_gradient(q_.weight());
    table.mark_partial_gradient(kv_.weight());
  }

  void forward_tokens(Step& step, std::unique_ptr<LayerState>& slot, float* out_rd,
                      const float* tokens_rnd, std::int64_t rows, std::int64_t n) const override {
    auto& saved = state_in<TokensState>(slot);
    saved.tokens_rnd = tokens_rnd;
    saved.rows = rows;
    saved.n = n;
    saved.q_a = make_query(step);
    saved.kv_rn2a = step.arena.floats(2 * rows * n * width());
    saved.weights_rhn = step.arena.floats(rows * heads() * n);
    saved.attended_ra = step.arena.floats(rows * width());
    kv_.forward(step.parameters, saved.kv_rn2a, tokens_rnd, rows * n);
    ops::channel_attention_forward(saved.attended_ra, saved.weights_rhn, saved.q_a, saved.kv_rn2a,
                                   rows, n, heads(), head_dim_);
    project(step, out_rd, saved.attended_ra, rows);
  }

  void backward_tokens(Step& step, Parameters& parameters, const LayerState& state,
                       float* d_tokens_rnd, const float* d_out_rd) const override {
    const auto& saved = static_cast<const TokensState&>(state);
    const StepArena::Scope scope(step.arena);
    float* d_attended_ra = step.arena.floats(saved.rows * width());
    float* d_kv_rn2a = step.arena.floats(2 * saved.rows * saved.n * width());
    float* d_q_a = zeros(step.arena, width());
    project_backward(parameters, d_attended_ra, d_out_rd, saved.attended_ra, saved.rows);
    ops::channel_attention_backward(d_q_a, d_kv_rn2a, d_attended_ra, saved.weights_rhn, saved.q_a,
                                    saved.kv_rn2a, saved.rows, saved.n, heads(), head_dim_);
    kv_.backward(parameters, d_tokens_rnd, d_kv_rn2a, saved.tokens_rnd, saved.rows * saved.n);
    query_backward(step, parameters, d_q_a);
  }

  void forward_patches(Step& step, std::unique_ptr<LayerState>& slot, float* out_rd,
                       Range channels) const override {
    const ops::ChannelPatchesView patches = patches_of(step, plan_, channels);
    auto& saved = state_in<PatchesState>(slot);
    saved.channels = channels;
    saved.q_a = make_query(step);
    saved.fused.weights = step.arena.floats(
        ops::fused_attention_weights_floats(patches.rows, patches.channels, heads()));
    saved.fused.folded = step.arena.floats(
        ops::fused_attention_folded_floats(patches.channels, patches.pixels(), heads(), head_dim_));
    saved.attended_ra = step.arena.floats(patches.rows * width());
    {
      const StepArena::Scope scope(step.arena);
      float* max_rh = step.arena.floats(patches.rows * heads());
      float* sum_rh = step.arena.floats(patches.rows * heads());
      const ops::ChannelAttentionWeights attention = weights(step.parameters, saved.q_a);
      {
        const StepArena::Scope scores(step.arena);
        float* workspace = step.arena.floats(ops::fused_channel_scores_workspace(
            patches.channels, patches.pixels(), plan_.dim, heads(), head_dim_));
        ops::fused_channel_scores(saved.fused, max_rh, sum_rh, patches,
                                  token_weights_of(step, plan_, channels), attention, workspace);
      }
      float* factor_rh = sum_rh;
      make_factor(step.arena, factor_rh, max_rh, sum_rh, patches.rows * heads());
      ops::fused_channel_mix(saved.attended_ra, saved.fused, factor_rh, patches, attention);
    }
    if (sharing_ == Sharing::channels) {
      plan_.group.all_reduce(saved.attended_ra, patches.rows * width());
    }
    project(step, out_rd, saved.attended_ra, patches.rows);
  }

  void backward_patches(Step& step, Parameters& parameters, const LayerState& state,
                        const float* d_out_rd) const override {
    const auto& saved = static_cast<const PatchesState&>(state);
    const ops::ChannelPatchesView patches = patches_of(step, plan_, saved.channels);
    const StepArena::Scope scope(step.arena);
    float* d_attended_ra = step.arena.floats(patches.rows * width());
    float* d_q_a = zeros(step.arena, width());
    float* workspace = step.arena.floats(ops::fused_channel_attention_backward_workspace(
        patches.rows, patches.channels, patches.pixels(), plan_.dim, heads(), head_dim_));
    project_backward(parameters, d_attended_ra, d_out_rd, saved.attended_ra, patches.rows);
    float* d_kv_weight = parameters.gradient(kv_.weight());
    ops::fused_channel_attention_backward({.dq_a = d_q_a,
                                           .dk_weight_ad = d_kv_weight,
                                           .dv_weight_ad = d_kv_weight + width() * plan_.dim},
                                          token_gradients_of(parameters, plan_, saved.channels),
                                          d_attended_ra, saved.attended_ra, patches,
                                          token_weights_of(step, plan_, saved.channels),
                                          weights(parameters, saved.q_a), saved.fused, workspace);
    query_backward(step, parameters, d_q_a);
  }

  LayerMemory tokens_memory(std::int64_t rows, std::int64_t n) const override {
    return {
        .saved = arena_bytes(width(), 2 * rows * n * width(), rows * heads() * n, rows * width()),
        .backward_scratch =
            arena_bytes(rows * width(), 2 * rows * n * width(), width(), plan_.dim)};
  }

  LayerMemory patches_memory(std::int64_t rows, std::int64_t channels) const override {
    const std::int64_t pixels = plan_.patch_pixels();
    const std::int64_t gathered = sharing_ == Sharing::channels ? gathered_floats(rows) : 0;
    return {
        .saved =
            arena_bytes(width(), ops::fused_attention_weights_floats(rows, channels, heads()),
                        ops::fused_attention_folded_floats(channels, pixels, heads(), head_dim_),
                        rows * width()),
        .forward_scratch = arena_bytes(rows * heads(), rows * heads()) +
                           std::max(arena_bytes(ops::fused_channel_scores_workspace(
                                        channels, pixels, plan_.dim, heads(), head_dim_)),
                                    arena_bytes(gathered)),
        .backward_scratch = arena_bytes(rows * width(), width(),
                                        ops::fused_channel_attention_backward_workspace(
                                            rows, channels, pixels, plan_.dim, heads(), head_dim_),
                                        plan_.dim)};
  }

  std::int64_t tokens_flops(std::int64_t rows, std::int64_t n) const override {
    // Scores and mix forward; keys, values, query and weights backward.
    const std::int64_t attention = 6 * 2 * rows * n * width();
    return q_.flops(1) + kv_.flops(rows * n) + attention + proj_.flops(rows);
  }

  std::int64_t patches_flops(std::int64_t rows, std::int64_t channels) const override {
    const std::int64_t pixels = plan_.patch_pixels() + 1;
    const std::int64_t scores = 2 * 2 * rows * channels * pixels * heads();
    const std::int64_t mix = 3 * 2 * rows * channels * pixels * width();
    const std::int64_t fold = 3 * 2 * channels * pixels * plan_.dim * (width() + heads());
    return q_.flops(1) + scores + mix + fold + proj_.flops(rows);
  }

 private:
  struct TokensState final : LayerState {
    const float* tokens_rnd;
    std::int64_t rows, n;
    float *q_a, *kv_rn2a, *weights_rhn, *attended_ra;
  };
  struct PatchesState final : LayerState {
    Range channels;
    float *q_a, *attended_ra;
    ops::FusedAttentionState fused;
  };

  std::int64_t heads() const { return own_heads_.size(); }
  std::int64_t width() const { return heads() * head_dim_; }
  Range own_features() const { return {own_heads_.begin * head_dim_, own_heads_.end * head_dim_}; }
  TensorSplit split_rows(const ReducerPlace& place, std::int64_t groups) const {
    if (sharing_ == Sharing::heads) return {0, groups, {own_features()}};
    return owned_split(plan_, place, groups * plan_.dim);
  }

  ops::ChannelAttentionWeights weights(const Parameters& parameters, const float* q_a) const {
    const float* kv_weight = parameters.value(kv_.weight());
    return {.q_a = q_a,
            .k_weight_ad = kv_weight,
            .v_weight_ad = kv_weight + width() * plan_.dim,
            .heads = heads(),
            .head_dim = head_dim_};
  }

  static float* zeros(StepArena& arena, std::int64_t count) {
    float* values = arena.floats(count);
    std::fill_n(values, count, 0.0F);
    return values;
  }

  float* make_query(Step& step) const {
    float* q_a = step.arena.floats(width());
    q_.forward(step.parameters, q_a, step.parameters.value(query_), 1);
    return q_a;
  }

  void query_backward(Step& step, Parameters& parameters, const float* d_q_a) const {
    const StepArena::Scope scope(step.arena);
    float* d_query_d = step.arena.floats(plan_.dim);
    q_.backward(parameters, d_query_d, d_q_a, parameters.value(query_), 1);
    ops::add(parameters.gradient(query_), d_query_d, plan_.dim);
  }

  void project(Step& step, float* out_rd, const float* attended_ra, std::int64_t rows) const {
    proj_.forward(step.parameters, out_rd, attended_ra, rows);
    if (sharing_ == Sharing::heads) plan_.group.all_reduce(out_rd, rows * plan_.dim);
    ops::add_to_rows(out_rd, step.parameters.value(proj_bias_), rows, plan_.dim);
  }

  void project_backward(Parameters& parameters, float* d_attended_ra, const float* d_out_rd,
                        const float* attended_ra, std::int64_t rows) const {
    proj_.backward(parameters, d_attended_ra, d_out_rd, attended_ra, rows);
    ops::add_row_sum(parameters.gradient(proj_bias_), d_out_rd, rows, plan_.dim);
  }

  std::int64_t gathered_floats(std::int64_t rows) const {
    return plan_.group.size() * 2 * rows * heads();
  }

  // What the exponentials of own scores must be multiplied by, to become attention weights over the
  // channels of all ranks. factor_rh may be sum_rh.
  void make_factor(StepArena& arena, float* factor_rh, const float* max_rh, const float* sum_rh,
                   std::int64_t count) const {
    if (sharing_ != Sharing::channels) {
      for (std::int64_t i = 0; i < count; ++i) factor_rh[i] = sum_rh[i] > 0 ? 1 / sum_rh[i] : 0;
      return;
    }
    const StepArena::Scope scope(arena);
    const std::int64_t ranks = plan_.group.size();
    float* all = arena.floats(ranks * 2 * count);  // of each rank: max_rh, then sum_rh
    float* own = all + plan_.group.rank() * 2 * count;
    std::copy_n(max_rh, count, own);
    std::copy_n(sum_rh, count, own + count);
    plan_.group.all_gather_rows(all, own, ranks, 2 * count);
    parallel_for(count, 1024, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        float max = max_rh[i];
        for (std::int64_t r = 0; r < ranks; ++r) max = std::max(max, all[r * 2 * count + i]);
        float sum = 0;
        for (std::int64_t r = 0; r < ranks; ++r) {
          sum += all[(2 * r + 1) * count + i] * std::exp(all[2 * r * count + i] - max);
        }
        factor_rh[i] = std::exp(max_rh[i] - max) / sum;
      }
    });
  }

  const ModelPlan& plan_;
  Sharing sharing_;
  std::int64_t head_dim_;
  Range own_heads_;
  ParameterId query_;
  Linear q_, kv_, proj_;
  ParameterId proj_bias_;
};

}  // namespace

std::unique_ptr<ChannelReducer> make_channel_cross_attention(ParameterTable& table,
                                                             const ModelPlan& plan,
                                                             const ReducerPlace& place,
                                                             std::int64_t heads) {
  require_heads("aggregation", heads, plan.dim);
  return std::make_unique<ChannelCrossAttention>(table, plan, place, heads);
}

}  // namespace trib::model
