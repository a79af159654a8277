#include "model/encoder.h"

#include <algorithm>

#include "model/arena_count.h"
#include "model/position_embedding.h"
#include "ops/base/parallel.h"
#include "ops/kernels/activation.h"

namespace trib::model {
namespace {

constexpr float kHoursPerUnit = 100;                // ClimaX feeds the lead time as hours / 100
constexpr std::int64_t kRows = 256, kColumns = 32;  // of a task

struct EncoderState final : LayerState {
  StepArena::Mark after_stream;  // the residual stream is what backward leaves
  Transformer::Saved transformer;
};

float lead_of(const Step& step, std::int64_t sample) {
  return step.input.lead_hours[static_cast<std::size_t>(sample)] / kHoursPerUnit;
}

DropKeys keys_of(const Step& step) {
  return {.seed = step.seed, .sample_keys = step.input.sample_keys};
}

}  // namespace

Encoder::Encoder(ParameterTable& table, const ModelPlan& plan, const EncoderOptions& options)
    : plan_(plan),
      pos_embed_(table.add({.name = "pos_embed",
                            .shape = {1, plan.tokens(), plan.dim},
                            .init = Init::sincos_2d,
                            .decay = false,
                            .grid_width = plan.grid_width})),
      lead_weight_(options.lead_time ? table.add({.name = "lead_time_embed.weight",
                                                  .shape = {plan.dim, 1},
                                                  .init = Init::truncated_normal})
                                     : -1),
      lead_bias_(
          options.lead_time
              ? table.add({.name = "lead_time_embed.bias", .shape = {plan.dim}, .decay = false})
              : -1),
      position_dropout_("pos_drop", options.drop_rate),
      transformer_(table, "",
                   {.dim = plan.dim,
                    .depth = options.depth,
                    .heads = options.heads,
                    .mlp_ratio = options.mlp_ratio,
                    .drop_rate = options.drop_rate,
                    .drop_path_rate = options.drop_path_rate,
                    .sequence_parallel = options.sequence_parallel,
                    .recompute = options.recompute},
                   plan.group) {}

void Encoder::forward(Step& step) const {
  const std::int64_t batch = step.batch(), tokens = plan_.num_visible;
  const std::int64_t count = batch * tokens * plan_.dim;
  auto& state = step.state_for<EncoderState>(index());
  // The output comes first in the arena: it stays when nothing else is kept.
  Tensor out_bnd;
  if (!step.training) out_bnd = step.arena.tensor({batch, tokens, plan_.dim});
  StepArena::Mark inference = step.arena.mark();
  float* x_bnd = step.arena.floats(count);
  if (step.training) {
    state.after_stream = step.arena.mark();
    out_bnd = step.arena.tensor({batch, tokens, plan_.dim});
  }
  ops::convert(x_bnd, step.x_bnd.data<float>(), count);
  add_position(x_bnd, step.parameters.value(pos_embed_), step.masking.visible_or_null(), batch,
               tokens, plan_.dim);
  if (lead_weight_ >= 0) add_lead_time(step, x_bnd);

  const DropKeys keys = keys_of(step);
  const DropKeys* drop = step.training ? &keys : nullptr;
  position_dropout_.apply(drop, x_bnd, x_bnd, {0, batch * tokens}, tokens, plan_.dim);
  transformer_.forward(step.parameters, step.arena, state.transformer, out_bnd.data<float>(), x_bnd,
                       batch, tokens, step.training, drop);
  step.x_bnd = out_bnd;
  if (step.training) {
    // Used up by now: the gradient goes back where the values came.
    step.d_x_bnd = Tensor::view(x_bnd, {batch, tokens, plan_.dim});
  } else {
    step.arena.release(inference);
  }
}

void Encoder::backward(Step& step, Parameters& parameters) const {
  const std::int64_t batch = step.batch(), tokens = plan_.num_visible;
  auto& state = step.state<EncoderState>(index());
  float* dx_bnd = step.d_x_bnd.data<float>();
  const DropKeys keys = keys_of(step);
  transformer_.backward(parameters, step.arena, state.transformer, dx_bnd, dx_bnd, batch, tokens,
                        &keys);
  position_dropout_.apply(&keys, dx_bnd, dx_bnd, {0, batch * tokens}, tokens, plan_.dim);
  add_position_gradient(parameters.gradient(pos_embed_), dx_bnd, step.masking.visible_or_null(),
                        batch, tokens, plan_.dim);
  if (lead_weight_ >= 0) add_lead_time_gradient(step, parameters, dx_bnd);
  step.arena.release(state.after_stream);
}

void Encoder::add_lead_time(const Step& step, float* x_bnd) const {
  const std::int64_t tokens = plan_.num_visible, dim = plan_.dim;
  const float* weight_d = step.parameters.value(lead_weight_);
  const float* bias_d = step.parameters.value(lead_bias_);
  parallel_for(step.batch() * tokens, kRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float lead = lead_of(step, r / tokens);
      float* x_d = x_bnd + r * dim;
      for (std::int64_t d = 0; d < dim; ++d) x_d[d] += weight_d[d] * lead + bias_d[d];
    }
  });
}

void Encoder::add_lead_time_gradient(const Step& step, Parameters& parameters,
                                     const float* dx_bnd) const {
  const std::int64_t tokens = plan_.num_visible, dim = plan_.dim;
  float* d_weight_d = parameters.gradient(lead_weight_);
  float* d_bias_d = parameters.gradient(lead_bias_);
  // Samples meet in the same elements: cut the columns, not the samples.
  parallel_for(dim, kColumns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = 0; b < step.batch(); ++b) {
      const float lead = lead_of(step, b);
      for (std::int64_t r = b * tokens; r < (b + 1) * tokens; ++r) {
        for (std::int64_t d = begin; d < end; ++d) {
          d_weight_d[d] += lead * dx_bnd[r * dim + d];
          d_bias_d[d] += dx_bnd[r * dim + d];
        }
      }
    }
  });
}

LayerMemory Encoder::memory(std::int64_t batch, bool training) const {
  LayerMemory memory = transformer_.memory(batch, plan_.num_visible, DType::f32, training);
  const std::int64_t x = arena_bytes(batch * plan_.num_visible * plan_.dim);
  if (training) {
    memory.saved += 2 * x;  // the residual stream and the output
    memory.released = memory.saved - x;
  } else {
    memory.saved = x;
    memory.forward_scratch += x;
  }
  return memory;
}

std::int64_t Encoder::flops(std::int64_t batch) const {
  return transformer_.flops(batch, plan_.num_visible);
}

std::vector<Output> Encoder::outputs(const Step& step) const {
  return {{"x", step.x_bnd}};
}

}  // namespace trib::model
