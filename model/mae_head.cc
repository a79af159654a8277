#include "model/mae_head.h"

#include <algorithm>
#include <cmath>

#include "model/arena_count.h"
#include "model/parallel/sum_over_ranks.h"
#include "model/position_embedding.h"
#include "ops/base/parallel.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/loss.h"
#include "ops/kernels/patchify.h"

namespace trib::model {

struct MaeHead::State final : LayerState {
  StepArena::Mark begin;
  float* target_rp;
  float* mask_r;             // 1 where masked
  float* y_re;               // the decoder's residual stream, forth and back
  FloatPtr out_re;           // what the decoder gives
  std::vector<double> sums;  // by sample: of errors, then of finite pixels
  std::vector<std::int64_t> finite_r;
  std::vector<double> mean_r, variance_r;  // of norm_pix
  std::vector<double> loss_factor_b;       // own masked pixels over the finite ones of all ranks
  Transformer::Saved transformer;
};

MaeHead::MaeHead(ParameterTable& table, const ModelPlan& plan, const MaeHeadOptions& options)
    : plan_(plan),
      options_(options),
      embed_(table, "decoder_embed", plan.dim, options.dim),
      mask_token_(table.add({.name = "mask_token",
                             .shape = {1, 1, options.dim},
                             .init = Init::normal,
                             .decay = false})),
      pos_embed_(table.add({.name = "decoder_pos_embed",
                            .shape = {1, plan.tokens(), options.dim},
                            .init = Init::sincos_2d,
                            .decay = false,
                            .trainable = false,
                            .grid_width = plan.grid_width})),
      transformer_(table, "decoder_",
                   {.dim = options.dim,
                    .depth = options.depth,
                    .heads = options.heads,
                    .mlp_ratio = options.mlp_ratio,
                    .recompute = options.recompute},
                   plan.group),
      pred_(table, "decoder_pred", options.dim, plan.patch_pixels() * plan.all_channels(),
            {.split = plan.channel_split(0, plan.patch_pixels())}) {}

void MaeHead::begin(Step& step) const {
  step.prediction = step.arena.tensor({step.batch(), plan_.tokens(), patch_values()});
}

void MaeHead::forward(Step& step) const {
  const std::int64_t batch = step.batch(), rows = batch * plan_.tokens();
  auto& state = step.state_for<State>(index());
  state.begin = step.arena.mark();
  state.target_rp = step.arena.floats(rows * patch_values());
  state.mask_r = step.arena.floats(rows);
  state.y_re = step.arena.floats(rows * options_.dim);
  state.out_re = step.arena.floats(rows * options_.dim, plan_.operand);

  unshuffle(step, state.y_re);
  transformer_.forward(step.parameters, step.arena, state.transformer, state.out_re, state.y_re,
                       batch, plan_.tokens(), step.training);
  pred_.forward(step.parameters, step.prediction.data<float>(), state.out_re, rows);
  compute_loss(step, state);
}

// The visible tokens as products take them.
ConstFloatPtr MaeHead::operand_of_x(const Step& step) const {
  if (plan_.operand == DType::f32) return step.x_bnd.data<float>();
  const FloatPtr x_rd = step.arena.floats(step.x_bnd.numel(), plan_.operand);
  ops::convert(x_rd, step.x_bnd.data<float>(), step.x_bnd.numel());
  return x_rd;
}

void MaeHead::unshuffle(const Step& step, float* y_bne) const {
  const std::int64_t tokens = plan_.tokens(), visible = plan_.num_visible, dim = options_.dim;
  const StepArena::Scope scope(step.arena);
  float* embedded_rd = step.arena.floats(step.batch() * visible * dim);
  embed_.forward(step.parameters, embedded_rd, operand_of_x(step), step.batch() * visible);

  const float* mask_token = step.parameters.value(mask_token_);
  parallel_for(step.batch() * tokens, 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t place = step.masking.ids_restore[static_cast<std::size_t>(r)];
      const float* from =
          place < visible ? embedded_rd + (r / tokens * visible + place) * dim : mask_token;
      std::copy_n(from, dim, y_bne + r * dim);
    }
  });
  add_position(y_bne, step.parameters.value(pos_embed_), nullptr, step.batch(), tokens, dim);
}

void MaeHead::compute_loss(Step& step, State& state) const {
  const std::int64_t rows = step.batch() * plan_.tokens(), pixels = patch_values();
  for (std::int64_t r = 0; r < rows; ++r) {
    state.mask_r[r] =
        step.masking.ids_restore[static_cast<std::size_t>(r)] < plan_.num_visible ? 0.0F : 1.0F;
  }
  ops::patchify(state.target_rp, step.input.x_bchw.data<float>(), step.batch(), plan_.channels(),
                plan_.input.height, plan_.input.width, plan_.patch);
  if (options_.norm_pix) normalize_targets(state, rows);

  // A missing pixel becomes its own prediction, which has no error and no gradient.
  const float* prediction_rp = step.prediction.data<float>();
  state.finite_r.assign(static_cast<std::size_t>(rows), 0);
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::int64_t count = 0;
      for (std::int64_t i = r * pixels; i < (r + 1) * pixels; ++i) {
        const bool missing = std::isnan(state.target_rp[i]);
        count += missing ? 0 : 1;
        state.target_rp[i] = missing ? prediction_rp[i] : state.target_rp[i];
      }
      state.finite_r[static_cast<std::size_t>(r)] = count;
    }
  });
  // Each sample has a mean of its own, so that the loss does not depend on which samples share a
  // batch.
  const std::int64_t tokens = plan_.tokens();
  const double masked_pixels = static_cast<double>((tokens - plan_.num_visible) * pixels);
  const auto batch = static_cast<std::size_t>(step.batch());
  std::vector<double>& sums = state.sums;
  sums.assign(2 * batch, 0);
  for (std::size_t b = 0; b < batch; ++b) {
    const std::int64_t first = static_cast<std::int64_t>(b) * tokens;
    sums[b] = masked_pixels * ops::masked_mse_forward(prediction_rp + first * pixels,
                                                      state.target_rp + first * pixels,
                                                      state.mask_r + first, tokens, pixels);
    for (std::int64_t r = first; r < first + tokens; ++r) {
      if (state.mask_r[r] != 0) {
        sums[batch + b] += static_cast<double>(state.finite_r[static_cast<std::size_t>(r)]);
      }
    }
  }
  add_up_channels(sums);
  state.loss_factor_b.assign(batch, 0);
  step.loss = 0;
  for (std::size_t b = 0; b < batch; ++b) {
    const double all_finite = sums[batch + b];
    if (all_finite == 0) continue;
    state.loss_factor_b[b] = masked_pixels / all_finite;
    step.loss += sums[b] / all_finite / static_cast<double>(batch);
  }
  step.loss_terms = {{"reconstruction", step.loss}};
}

void MaeHead::add_up_channels(std::span<double> values) const {
  if (plan_.is_distributed()) plan_.group.all_reduce(values);
}

void MaeHead::normalize_targets(State& state, std::int64_t rows) const {
  const auto values = static_cast<double>(plan_.patch_pixels() * plan_.all_channels());
  float* const target_rp = state.target_rp;
  std::vector<double>&mean_r = state.mean_r, &variance_r = state.variance_r;
  mean_r.resize(static_cast<std::size_t>(rows));
  variance_r.resize(static_cast<std::size_t>(rows));
  ops::patch_sums(mean_r.data(), target_rp, rows, patch_values());
  add_up_channels(mean_r);
  for (double& mean : mean_r) mean /= values;
  ops::center_patches(target_rp, variance_r.data(), mean_r.data(), rows, patch_values());
  add_up_channels(variance_r);
  for (double& variance : variance_r) variance /= std::max(values - 1, 1.0);
  ops::scale_patches(target_rp, variance_r.data(), rows, patch_values());
}

void MaeHead::backward(Step& step, Parameters& parameters) const {
  const std::int64_t batch = step.batch(), rows = batch * plan_.tokens();
  auto& state = step.state<State>(index());
  float* dy_re = state.y_re;
  {
    const StepArena::Scope scope(step.arena);
    const FloatPtr d_prediction_rp = step.arena.floats(rows * patch_values(), plan_.operand);
    loss_gradient(step, state, d_prediction_rp);
    pred_.backward_weight(parameters, d_prediction_rp, state.out_re, rows);
    // The gradient by the decoder's output takes the place of the output.
    const auto backward_input = [&](FloatPtr summand_re) {
      pred_.backward_input(parameters, summand_re, d_prediction_rp, rows);
    };
    if (plan_.is_distributed()) {
      sum_over_ranks(plan_.group, step.arena, state.out_re, rows * options_.dim, backward_input);
    } else {
      backward_input(state.out_re);
    }
  }
  transformer_.backward(parameters, step.arena, state.transformer, dy_re, state.out_re, batch,
                        plan_.tokens());
  unshuffle_backward(step, parameters, dy_re);
  step.arena.release(state.begin);
}

// By the prediction, as products take it.
void MaeHead::loss_gradient(const Step& step, const State& state, FloatPtr d_prediction_rp) const {
  const std::int64_t batch = step.batch(), tokens = plan_.tokens(), pixels = patch_values();
  const StepArena::Scope scope(step.arena);
  float* d_rp = d_prediction_rp.is_bf16() ? step.arena.floats(batch * tokens * pixels)
                                          : d_prediction_rp.as<float>();
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::int64_t first = b * tokens;
    const double factor = state.loss_factor_b[static_cast<std::size_t>(b)];
    ops::masked_mse_backward(
        d_rp + first * pixels, step.prediction.data<float>() + first * pixels,
        state.target_rp + first * pixels, state.mask_r + first, tokens, pixels,
        static_cast<float>(step.loss_scale * factor / static_cast<double>(batch)));
  }
  if (d_prediction_rp.is_bf16()) ops::convert(d_prediction_rp, d_rp, batch * tokens * pixels);
}

void MaeHead::unshuffle_backward(Step& step, Parameters& parameters, const float* dy_bne) const {
  const std::int64_t tokens = plan_.tokens(), visible = plan_.num_visible, dim = options_.dim;
  const std::int64_t batch = step.batch();
  const StepArena::Scope scope(step.arena);
  const FloatPtr d_embedded_rd = step.arena.floats(batch * visible * dim, plan_.operand);
  float* d_mask_token = parameters.gradient(mask_token_);
  const auto place_of = [&](std::int64_t r) {
    return step.masking.ids_restore[static_cast<std::size_t>(r)];
  };
  with_float_type(d_embedded_rd, [&]<class T>(T* d_embedded) {
    parallel_for(batch * tokens, 256, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        if (place_of(r) >= visible) continue;
        T* to = d_embedded + (r / tokens * visible + place_of(r)) * dim;
        for (std::int64_t d = 0; d < dim; ++d) to[d] = T(dy_bne[r * dim + d]);
      }
    });
  });
  // Samples meet in the mask token: cut its columns, not the samples.
  parallel_for(dim, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = 0; r < batch * tokens; ++r) {
      if (place_of(r) < visible) continue;
      for (std::int64_t d = begin; d < end; ++d) d_mask_token[d] += dy_bne[r * dim + d];
    }
  });
  embed_.backward(parameters, step.d_x_bnd.data<float>(), d_embedded_rd, operand_of_x(step),
                  batch * visible);
}

LayerMemory MaeHead::memory(std::int64_t batch, bool training) const {
  const std::int64_t rows = batch * plan_.tokens(), visible = batch * plan_.num_visible;
  const auto operands = [&](std::int64_t count) {
    return arena_bytes_of(static_cast<std::int64_t>(size_of(plan_.operand)), count);
  };
  const bool is_bf16 = plan_.operand == DType::bf16;
  const std::int64_t pixels = rows * patch_values();
  const std::int64_t x = is_bf16 ? operands(visible * plan_.dim) : 0;
  LayerMemory memory = transformer_.memory(batch, plan_.tokens(), plan_.operand, training);
  memory.throughout = arena_bytes(pixels);
  memory.saved += arena_bytes(pixels, rows, rows * options_.dim) + operands(rows * options_.dim);
  memory.forward_scratch =
      std::max(memory.forward_scratch, arena_bytes(visible * options_.dim) + x);
  if (!training) return memory;
  const std::int64_t of_loss =
      operands(pixels) +
      std::max(is_bf16 ? arena_bytes(pixels) : 0,
               is_bf16 && plan_.is_distributed() ? arena_bytes(rows * options_.dim) : 0);
  memory.backward_scratch =
      std::max({of_loss, memory.backward_scratch, operands(visible * options_.dim) + x});
  memory.released = memory.saved;
  return memory;
}

std::int64_t MaeHead::flops(std::int64_t batch) const {
  const std::int64_t rows = batch * plan_.tokens();
  return embed_.flops(batch * plan_.num_visible) + transformer_.flops(batch, plan_.tokens()) +
         pred_.flops(rows);
}

std::vector<Output> MaeHead::outputs(const Step& step) const {
  return {{"prediction", step.prediction, plan_.patch_pixels() * plan_.all_channels(),
           plan_.channel_split(2, plan_.patch_pixels())}};
}

}  // namespace trib::model
