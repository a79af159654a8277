#include "model/aggregation/channel_reducer.h"
#include "model/arena_count.h"
#include "ops/kernels/channel_attention.h"
#include "ops/kernels/fused_channel_linear.h"

namespace trib::model {
namespace {

// It starts as the mean of the tokens: values drawn around 0 would start the encoder with almost no
// signal.
class ChannelLinear final : public ChannelReducer {
 public:
  ChannelLinear(ParameterTable& table, const ModelPlan& plan, const ReducerPlace& place,
                std::int64_t inputs)
      : plan_(plan),
        is_shared_(place.sharing == Sharing::channels && !plan.group.is_alone()),
        weight_(table.add({.name = place.prefix + ".weight",
                           .shape = {1, inputs},
                           .init = Init::average,
                           .split = is_shared_ ? TensorSplit{1, 1, {plan.own_channels}}
                                               : owned_split(plan, place, 1)})),
        bias_(table.add({.name = place.prefix + ".bias",
                         .shape = {1},
                         .decay = false,
                         .split = owned_split(plan, place, 1)})) {}

  void forward_tokens(Step& step, std::unique_ptr<LayerState>& slot, float* out_rd,
                      const float* tokens_rnd, std::int64_t rows, std::int64_t n) const override {
    ops::channel_linear_forward(out_rd, tokens_rnd, step.parameters.value(weight_),
                                *step.parameters.value(bias_), rows, n, plan_.dim);
    auto& saved = state_in<TokensState>(slot);
    saved.tokens_rnd = tokens_rnd;
    saved.rows = rows;
    saved.n = n;
  }

  void backward_tokens(Step& /*step*/, Parameters& parameters, const LayerState& state,
                       float* d_tokens_rnd, const float* d_out_rd) const override {
    const auto& saved = static_cast<const TokensState&>(state);
    ops::channel_linear_backward(d_tokens_rnd, parameters.gradient(weight_),
                                 parameters.gradient(bias_), d_out_rd, saved.tokens_rnd,
                                 parameters.value(weight_), saved.rows, saved.n, plan_.dim);
  }

  void forward_patches(Step& step, std::unique_ptr<LayerState>& slot, float* out_rd,
                       Range channels) const override {
    const StepArena::Scope scope(step.arena);
    float* workspace = step.arena.floats(
        ops::fused_channel_linear_workspace(channels.size(), plan_.patch_pixels(), plan_.dim));
    const ops::ChannelPatchesView patches = patches_of(step, plan_, channels);
    const bool adds_bias = !is_shared_ || plan_.group.rank() == 0;
    ops::fused_channel_linear_forward(
        out_rd, plan_.dim, patches, token_weights_of(step, plan_, channels),
        step.parameters.value(weight_), adds_bias ? *step.parameters.value(bias_) : 0, workspace);
    if (is_shared_) plan_.group.all_reduce(out_rd, patches.rows * plan_.dim);
    state_in<PatchesState>(slot).channels = channels;
  }

  void backward_patches(Step& step, Parameters& parameters, const LayerState& state,
                        const float* d_out_rd) const override {
    const Range channels = static_cast<const PatchesState&>(state).channels;
    const StepArena::Scope scope(step.arena);
    float* workspace = step.arena.floats(
        ops::fused_channel_linear_workspace(channels.size(), plan_.patch_pixels(), plan_.dim));
    ops::fused_channel_linear_backward(
        token_gradients_of(parameters, plan_, channels), parameters.gradient(weight_),
        parameters.gradient(bias_), d_out_rd, plan_.dim, patches_of(step, plan_, channels),
        token_weights_of(step, plan_, channels), parameters.value(weight_), workspace);
  }

  LayerMemory tokens_memory(std::int64_t /*rows*/, std::int64_t /*n*/) const override { return {}; }

  LayerMemory patches_memory(std::int64_t /*rows*/, std::int64_t channels) const override {
    const std::int64_t workspace =
        arena_bytes(ops::fused_channel_linear_workspace(channels, plan_.patch_pixels(), plan_.dim));
    return {.forward_scratch = workspace, .backward_scratch = workspace};
  }

  std::int64_t tokens_flops(std::int64_t rows, std::int64_t n) const override {
    return 3 * 2 * rows * n * plan_.dim;
  }

  std::int64_t patches_flops(std::int64_t rows, std::int64_t channels) const override {
    return 2 * 2 * rows * channels * plan_.patch_pixels() * plan_.dim;  // pixels need no gradient
  }

 private:
  struct TokensState final : LayerState {
    const float* tokens_rnd;
    std::int64_t rows, n;
  };
  struct PatchesState final : LayerState {
    Range channels;
  };

  const ModelPlan& plan_;
  bool is_shared_;
  ParameterId weight_, bias_;
};

}  // namespace

std::unique_ptr<ChannelReducer> make_channel_linear(ParameterTable& table, const ModelPlan& plan,
                                                    const ReducerPlace& place,
                                                    std::int64_t inputs) {
  return std::make_unique<ChannelLinear>(table, plan, place, inputs);
}

}  // namespace trib::model
