#include "model/aggregation.h"

#include <algorithm>
#include <optional>

#include "model/arena_count.h"
#include "model/modules.h"
#include "model/tokenizer.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/channel_attention.h"

namespace trib::model {
namespace {

// What both kinds share: positions, the tensors they hand on, the tokens they ask for.
class Aggregation : public Layer {
 public:
  explicit Aggregation(const ModelPlan& plan) : plan_(plan) {}

  std::vector<std::pair<std::string, Tensor>> outputs(const Step& step) const override {
    return {{"x", step.x_bnd}};
  }

 protected:
  std::int64_t rows(std::int64_t batch) const { return batch * plan_.num_visible; }

  // The output comes first in the arena: it stays when nothing else is kept.
  float* make_output(Step& step) const {
    step.x_bnd = step.arena.tensor({step.batch(), plan_.num_visible, plan_.dim});
    return step.x_bnd.data<float>();
  }

  const float* make_tokens(Step& step) const {
    float* tokens_rcd = step.arena.floats(token_count(step.batch()));
    plan_.tokenizer->tokens(step, tokens_rcd);
    return tokens_rcd;
  }

  float* make_token_gradient(Step& step) const {
    Tensor& d_tokens = step.channels.d_tokens_bncd;
    d_tokens = step.arena.tensor({step.batch(), plan_.num_visible, plan_.channels(), plan_.dim});
    return d_tokens.data<float>();
  }

  std::int64_t token_count(std::int64_t batch) const {
    return rows(batch) * plan_.channels() * plan_.dim;
  }

  // `internal`: bytes that backward needs and inference does not.
  LayerMemory memory_with(std::int64_t batch, std::int64_t internal, bool training) const {
    const std::int64_t output = arena_bytes(rows(batch) * plan_.dim);
    if (!training) return {.saved = output, .forward_scratch = internal};
    return {.saved = output + internal, .passed_back = arena_bytes(token_count(batch))};
  }

  const ModelPlan& plan_;
};

// Cross-attention of a learned query with the channels: kv without bias, no norm before, no
// residual, output projection with bias (D-CHAG's baseline).
class CrossAttentionAggregation final : public Aggregation {
 public:
  CrossAttentionAggregation(ParameterTable& table, const ModelPlan& plan, std::int64_t heads)
      : Aggregation(plan),
        heads_(heads),
        query_(table.add({.name = "var_query", .shape = {1, 1, plan.dim}, .decay = false})),
        q_(table, "var_agg.q", plan.dim, plan.dim, /*with_bias=*/false),
        kv_(table, "var_agg.kv", plan.dim, 2 * plan.dim, /*with_bias=*/false),
        proj_(table, "var_agg.proj", plan.dim, plan.dim) {}

  void forward(Step& step) const override {
    const std::int64_t positions = rows(step.batch());
    float* x_rd = make_output(step);
    std::optional<StepArena::Scope> scope;
    if (!step.training) scope.emplace(step.arena);

    auto& saved = step.make_state<Saved>(index());
    saved.q_d = step.arena.floats(plan_.dim);
    q_.forward(step.parameters, saved.q_d, step.parameters.value(query_), 1);
    saved.tokens_rcd = make_tokens(step);
    saved.kv_rc2d = step.arena.floats(2 * token_count(step.batch()));
    kv_.forward(step.parameters, saved.kv_rc2d, saved.tokens_rcd, positions * plan_.channels());
    saved.weights_rhc = step.arena.floats(positions * heads_ * plan_.channels());
    saved.attended_rd = step.arena.floats(positions * plan_.dim);
    ops::channel_attention_forward(saved.attended_rd, saved.weights_rhc, saved.q_d, saved.kv_rc2d,
                                   positions, plan_.channels(), heads_, plan_.dim / heads_);
    proj_.forward(step.parameters, x_rd, saved.attended_rd, positions);
  }

  void backward(Step& step, Parameters& parameters) const override {
    const std::int64_t positions = rows(step.batch());
    const auto& saved = step.state<Saved>(index());
    float* d_tokens_rcd = make_token_gradient(step);
    const StepArena::Scope scope(step.arena);
    float* d_attended_rd = step.arena.floats(positions * plan_.dim);
    float* d_kv_rc2d = step.arena.floats(2 * token_count(step.batch()));
    float* d_q_d = step.arena.floats(plan_.dim);
    float* d_query_d = step.arena.floats(plan_.dim);

    proj_.backward(parameters, d_attended_rd, step.d_x_bnd.data<float>(), saved.attended_rd,
                   positions);
    std::fill_n(d_q_d, plan_.dim, 0.0F);
    ops::channel_attention_backward(d_q_d, d_kv_rc2d, d_attended_rd, saved.weights_rhc, saved.q_d,
                                    saved.kv_rc2d, positions, plan_.channels(), heads_,
                                    plan_.dim / heads_);
    kv_.backward(parameters, d_tokens_rcd, d_kv_rc2d, saved.tokens_rcd,
                 positions * plan_.channels());
    q_.backward(parameters, d_query_d, d_q_d, parameters.value(query_), 1);
    ops::add(parameters.gradient(query_), d_query_d, plan_.dim);
  }

  LayerMemory memory(std::int64_t batch, bool training) const override {
    const std::int64_t positions = rows(batch), tokens = token_count(batch);
    LayerMemory memory =
        memory_with(batch,
                    arena_bytes(plan_.dim, tokens, 2 * tokens,
                                positions * heads_ * plan_.channels(), positions * plan_.dim),
                    training);
    memory.backward_scratch = arena_bytes(positions * plan_.dim, 2 * tokens, plan_.dim, plan_.dim);
    return memory;
  }

  std::int64_t flops(std::int64_t batch) const override {
    const std::int64_t positions = rows(batch);
    // Scores and mix forward; keys, values, query and weights backward.
    const std::int64_t attention = 6 * 2 * token_count(batch);
    return q_.flops(1) + kv_.flops(positions * plan_.channels()) + attention +
           proj_.flops(positions);
  }

 private:
  struct Saved final : LayerState {
    float* q_d;
    const float* tokens_rcd;
    float *kv_rc2d, *weights_rhc, *attended_rd;
  };

  std::int64_t heads_;
  ParameterId query_;
  Linear q_, kv_, proj_;
};

// Linear(C, 1) along the channels, shared by all positions and dims. It starts as their mean:
// values drawn around 0 would start the encoder with almost no signal.
class LinearAggregation final : public Aggregation {
 public:
  LinearAggregation(ParameterTable& table, const ModelPlan& plan)
      : Aggregation(plan),
        weight_(table.add(
            {.name = "var_agg.weight", .shape = {1, plan.channels()}, .init = Init::average})),
        bias_(table.add({.name = "var_agg.bias", .shape = {1}, .decay = false})) {}

  void forward(Step& step) const override {
    float* x_rd = make_output(step);
    std::optional<StepArena::Scope> scope;
    if (!step.training) scope.emplace(step.arena);

    auto& saved = step.make_state<Saved>(index());
    saved.tokens_rcd = make_tokens(step);
    ops::channel_linear_forward(x_rd, saved.tokens_rcd, step.parameters.value(weight_),
                                *step.parameters.value(bias_), rows(step.batch()), plan_.channels(),
                                plan_.dim);
  }

  void backward(Step& step, Parameters& parameters) const override {
    const auto& saved = step.state<Saved>(index());
    float* d_tokens_rcd = make_token_gradient(step);
    ops::channel_linear_backward(d_tokens_rcd, parameters.gradient(weight_),
                                 parameters.gradient(bias_), step.d_x_bnd.data<float>(),
                                 saved.tokens_rcd, parameters.value(weight_), rows(step.batch()),
                                 plan_.channels(), plan_.dim);
  }

  LayerMemory memory(std::int64_t batch, bool training) const override {
    return memory_with(batch, arena_bytes(token_count(batch)), training);
  }

  std::int64_t flops(std::int64_t batch) const override { return 3 * 2 * token_count(batch); }

 private:
  struct Saved final : LayerState {
    const float* tokens_rcd;
  };

  ParameterId weight_, bias_;
};

}  // namespace

std::unique_ptr<Layer> make_aggregation(ParameterTable& table, const ModelPlan& plan,
                                        const AggregationOptions& options) {
  if (options.kind == AggregationKind::linear) {
    return std::make_unique<LinearAggregation>(table, plan);
  }
  require_heads("aggregation", options.heads, plan.dim);
  return std::make_unique<CrossAttentionAggregation>(table, plan, options.heads);
}

}  // namespace trib::model
