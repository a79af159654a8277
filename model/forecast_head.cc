#include "model/forecast_head.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/arena_count.h"
#include "model/parallel/sum_over_ranks.h"
#include "ops/base/error.h"
#include "ops/base/parallel.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/loss.h"
#include "ops/kernels/patchify.h"

namespace trib::model {

struct ForecastHead::State final : LayerState {
  StepArena::Mark begin;
  const float* target_bvhw = nullptr;     // null without targets
  std::vector<double> sums, own_sums;     // by sample: of errors, then of finite pixels
  std::vector<double> loss_share_b;       // own finite target pixels over those of all ranks
  ConstFloatPtr x_ri;                     // as the first Linear takes it
  std::vector<FloatPtr> preactivated_ro;  // of each GELU
};

ForecastHead::ForecastHead(ParameterTable& table, const ModelPlan& plan,
                           const ForecastHeadOptions& options)
    : plan_(plan) {
  const InputSpec& input = plan.input;
  const auto& names = options.variables.empty() ? input.targets : options.variables;
  if (names.empty()) throw ConfigError("forecast head: the data has no target variables");
  all_variables_ = static_cast<std::int64_t>(names.size());
  std::vector<std::int64_t> own;
  for (std::int64_t v = 0; v < all_variables_; ++v) {
    const std::string& name = names[static_cast<std::size_t>(v)];
    const auto target = std::find(input.targets.begin(), input.targets.end(), name);
    if (target == input.targets.end()) {
      throw ConfigError(fmt::format("forecast head: variable {} is not among the targets {}", name,
                                    fmt::join(input.targets, ", ")));
    }
    const std::int64_t channel = input.find_channel(name);
    if (options.residual && channel < 0) {
      throw ConfigError(fmt::format("forecast head: residual needs {} among the input channels {}",
                                    name, fmt::join(input.channels, ", ")));
    }
    const auto at =
        std::find(plan.own_targets.begin(), plan.own_targets.end(), target - input.targets.begin());
    if (at == plan.own_targets.end()) continue;
    own.push_back(v);
    targets_.push_back(at - plan.own_targets.begin());
    // A target that is a channel too belongs to the rank of the channel.
    if (options.residual) channels_.push_back(channel - plan.own_channels.begin);
  }
  if (plan.is_distributed()) variable_split_ = {.axis = 1, .own = ranges_of(own)};

  row_weights_.assign(static_cast<std::size_t>(input.height), 1.0F);
  if (options.latitude_weighted && !input.latitudes.empty()) {
    if (static_cast<std::int64_t>(input.latitudes.size()) != input.height) {
      throw ConfigError(fmt::format("forecast head: {} latitudes for {} rows",
                                    input.latitudes.size(), input.height));
    }
    ops::latitude_weights(row_weights_.data(), input.latitudes.data(), input.height);
  }

  for (std::int64_t i = 0; i < options.depth; ++i) {
    hidden_.emplace_back(table, fmt::format("head.{}", 2 * i), plan.dim, i, options.depth,
                         plan.group);
  }
  // A small last layer starts a residual forecast next to persistence.
  TensorSplit rows = variable_split_;
  if (rows.active()) rows = {.axis = 0, .groups = plan.patch_pixels(), .own = rows.own};
  last_ = std::make_unique<Linear>(
      table, fmt::format("head.{}", 2 * options.depth), plan.dim,
      all_variables_ * plan.patch_pixels(),
      Linear::Options{.init = options.residual ? Init::truncated_normal : Init::xavier_uniform,
                      .split = rows});
}

void ForecastHead::begin(Step& step) const {
  step.prediction_bvhw =
      step.arena.tensor({step.batch(), variables(), plan_.input.height, plan_.input.width});
  step.prediction = step.prediction_bvhw;
}

void ForecastHead::forward(Step& step) const {
  const std::int64_t batch = step.batch(), rows = batch * plan_.tokens();
  auto& state = step.state_for<State>(index());
  state.begin = step.arena.mark();
  float* prediction_bvhw = step.prediction_bvhw.data<float>();
  state.target_bvhw = step.input.target_bvhw.defined() ? predicted_targets(step) : nullptr;
  {
    std::optional<StepArena::Scope> inference;
    if (!step.training) inference.emplace(step.arena);
    state.x_ri = operand_of_x(step);
    state.preactivated_ro.clear();
    for (const ChainLinear& linear : hidden_) {
      state.preactivated_ro.push_back(step.arena.floats(rows * linear.out(), plan_.operand));
    }
    const StepArena::Scope scope(step.arena);
    const ConstFloatPtr x_ri = run_hidden(step, state);
    float* patches_rp = step.arena.floats(rows * last_->out());
    last_->forward(step.parameters, patches_rp, x_ri, rows);
    ops::unpatchify(prediction_bvhw, patches_rp, batch, variables(), plan_.input.height,
                    plan_.input.width, plan_.patch);
  }
  if (!channels_.empty()) add_input(step, prediction_bvhw);

  if (state.target_bvhw == nullptr) return;
  compute_loss(step, state);
}

// The tokens as products take them.
ConstFloatPtr ForecastHead::operand_of_x(const Step& step) const {
  if (plan_.operand == DType::f32) return step.x_bnd.data<float>();
  const FloatPtr x_ri = step.arena.floats(step.x_bnd.numel(), plan_.operand);
  ops::convert(x_ri, step.x_bnd.data<float>(), step.x_bnd.numel());
  return x_ri;
}

// The hidden Linear and GELU pairs; the result is that of the last, in one of two buffers.
ConstFloatPtr ForecastHead::run_hidden(const Step& step, const State& state) const {
  if (hidden_.empty()) return state.x_ri;
  const std::int64_t rows = step.batch() * plan_.tokens();
  const FloatPtr activated_ro[2] = {step.arena.floats(rows * plan_.dim, plan_.operand),
                                    step.arena.floats(rows * plan_.dim, plan_.operand)};
  ConstFloatPtr x_ri = state.x_ri;
  for (std::size_t i = 0; i < hidden_.size(); ++i) {
    hidden_[i].forward_gelu(step.parameters, step.arena, activated_ro[i % 2],
                            state.preactivated_ro[i], x_ri, rows);
    x_ri = activated_ro[i % 2];
  }
  return x_ri;
}

// Each sample has a mean of its own, so that the loss does not depend on which samples share a
// batch.
void ForecastHead::compute_loss(Step& step, State& state) const {
  const auto batch = static_cast<std::size_t>(step.batch());
  const std::int64_t pixels = variables() * image_pixels();  // of a sample
  std::vector<double>& sums = state.sums;
  sums.assign(2 * batch, 0);
  for (std::size_t b = 0; b < batch; ++b) {
    const std::int64_t first = static_cast<std::int64_t>(b) * pixels;
    sums[batch + b] = ops::count_valid(state.target_bvhw + first, pixels);
    sums[b] = sums[batch + b] *
              ops::weighted_mse_forward(step.prediction_bvhw.data<float>() + first,
                                        state.target_bvhw + first, row_weights_.data(), variables(),
                                        plan_.input.height, plan_.input.width);
  }
  state.own_sums.assign(sums.begin(), sums.end());
  if (plan_.is_distributed()) plan_.group.all_reduce(sums);
  state.loss_share_b.assign(batch, 0);
  step.loss = 0;
  for (std::size_t b = 0; b < batch; ++b) {
    const double count = sums[batch + b];
    if (count == 0) continue;
    state.loss_share_b[b] = state.own_sums[batch + b] / count;
    step.loss += sums[b] / count / static_cast<double>(batch);
  }
  step.loss_terms = {{"forecast", step.loss}};
}

void ForecastHead::add_input(const Step& step, float* prediction_bvhw) const {
  const std::int64_t pixels = image_pixels();
  const float* x_bchw = step.input.x_bchw.data<float>();
  parallel_for(step.batch() * variables(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image) {
      const std::int64_t b = image / variables(), v = image % variables();
      const std::int64_t c = channels_[static_cast<std::size_t>(v)];
      const float* x_hw = x_bchw + (b * plan_.channels() + c) * pixels;
      float* prediction_hw = prediction_bvhw + image * pixels;
      for (std::int64_t i = 0; i < pixels; ++i) {
        prediction_hw[i] += std::isnan(x_hw[i]) ? 0.0F : x_hw[i];  // as the tokenizer does
      }
    }
  });
}

// A rank may have none at all: its targets need memory, to be told from missing ones.
bool ForecastHead::predicts_all_targets() const {
  if (targets_.empty()) return false;
  for (std::size_t v = 0; v < targets_.size(); ++v) {
    if (targets_[v] != static_cast<std::int64_t>(v)) return false;
  }
  return targets_.size() == plan_.own_targets.size();
}

// The predicted variables' targets side by side.
const float* ForecastHead::predicted_targets(const Step& step) const {
  if (predicts_all_targets()) return step.input.target_bvhw.data<float>();
  const auto all = static_cast<std::int64_t>(plan_.own_targets.size());
  const std::int64_t pixels = image_pixels();
  const float* target_bthw = step.input.target_bvhw.data<float>();
  float* own_bvhw = step.arena.floats(step.batch() * variables() * pixels);
  for (std::int64_t image = 0; image < step.batch() * variables(); ++image) {
    const std::int64_t b = image / variables(), v = image % variables();
    const std::int64_t t = targets_[static_cast<std::size_t>(v)];
    std::copy_n(target_bthw + (b * all + t) * pixels, pixels, own_bvhw + image * pixels);
  }
  return own_bvhw;
}

void ForecastHead::backward(Step& step, Parameters& parameters) const {
  const std::int64_t rows = step.batch() * plan_.tokens();
  auto& state = step.state<State>(index());
  if (state.target_bvhw == nullptr) {
    throw RuntimeError("forecast head: backward of a step without targets");
  }
  // The gradient goes back and forth between two buffers and ends in the encoder's.
  FloatPtr d_rd[2];
  if (!hidden_.empty()) {
    for (FloatPtr& d : d_rd) d = step.arena.floats(rows * plan_.dim, plan_.operand);
  }
  const FloatPtr d_patches_rp = step.arena.floats(rows * last_->out(), plan_.operand);
  loss_gradient(step, state, d_patches_rp);

  ConstFloatPtr dy_ro = d_patches_rp;
  for (std::size_t i = hidden_.size() + 1; i-- > 0;) {
    // Linear number i, and the GELU before it.
    const FloatPtr dx_ri = i == 0 ? FloatPtr(step.d_x_bnd.data<float>()) : d_rd[i % 2];
    if (i < hidden_.size()) {
      hidden_[i].backward_input(parameters, step.arena, dx_ri, dy_ro, rows);
    } else if (plan_.is_distributed()) {
      sum_over_ranks(plan_.group, step.arena, dx_ri, rows * plan_.dim, [&](FloatPtr summand_ri) {
        last_->backward_input(parameters, summand_ri, dy_ro, rows);
      });
    } else {
      last_->backward_input(parameters, dx_ri, dy_ro, rows);
    }
    ConstFloatPtr x_ri = state.x_ri;
    if (i > 0) {
      const FloatPtr preactivated_ri = state.preactivated_ro[i - 1];
      x_ri = preactivated_ri;  // which becomes what it was before the GELU
      ops::gelu_backward(dx_ri, preactivated_ri, dx_ri, preactivated_ri,
                         rows * hidden_[i - 1].out());
    }
    if (i < hidden_.size()) {
      hidden_[i].backward_weight(parameters, dy_ro, x_ri, rows);
    } else {
      last_->backward_weight(parameters, dy_ro, x_ri, rows);
    }
    dy_ro = dx_ri;
  }
  step.arena.release(state.begin);
}

// By the predicted patches, as products take it.
void ForecastHead::loss_gradient(const Step& step, const State& state,
                                 FloatPtr d_patches_rp) const {
  const std::int64_t batch = step.batch();
  const std::int64_t pixels = variables() * image_pixels();  // of a sample
  const StepArena::Scope scope(step.arena);
  float* d_prediction_bvhw = step.arena.floats(batch * pixels);
  for (std::int64_t b = 0; b < batch; ++b) {
    const double share = state.loss_share_b[static_cast<std::size_t>(b)];
    ops::weighted_mse_backward(
        d_prediction_bvhw + b * pixels, step.prediction_bvhw.data<float>() + b * pixels,
        state.target_bvhw + b * pixels, row_weights_.data(), variables(), plan_.input.height,
        plan_.input.width,
        static_cast<float>(step.loss_scale * share / static_cast<double>(batch)));
  }
  const std::int64_t count = batch * plan_.tokens() * last_->out();
  float* patches_rp = d_patches_rp.is_bf16() ? step.arena.floats(count) : d_patches_rp.as<float>();
  ops::patchify(patches_rp, d_prediction_bvhw, batch, variables(), plan_.input.height,
                plan_.input.width, plan_.patch);
  if (d_patches_rp.is_bf16()) ops::convert(d_patches_rp, patches_rp, count);
}

LayerMemory ForecastHead::memory(std::int64_t batch, bool training) const {
  const std::int64_t rows = batch * plan_.tokens();
  const auto operands = [&](std::int64_t count) {
    return arena_bytes_of(static_cast<std::int64_t>(size_of(plan_.operand)), count);
  };
  const bool is_bf16 = plan_.operand == DType::bf16;
  const std::int64_t image = arena_bytes(batch * variables() * image_pixels());
  const std::int64_t patches = rows * last_->out();
  const std::int64_t buffers = hidden_.empty() ? 0 : 2 * operands(rows * plan_.dim);
  // Sums over ranks that are rounded afterwards.
  const std::int64_t sum = is_bf16 && !plan_.group.is_alone() ? arena_bytes(rows * plan_.dim) : 0;
  const bool sums_forward = hidden_.size() > 1;
  const bool sums_backward = (plan_.is_distributed() && !hidden_.empty()) || hidden_.size() > 3;

  std::int64_t kept = is_bf16 ? operands(rows * plan_.dim) : 0;
  for (const ChainLinear& linear : hidden_) kept += operands(rows * linear.out());
  LayerMemory memory;
  memory.forward_scratch = buffers + std::max(arena_bytes(patches), sums_forward ? sum : 0);
  memory.throughout = image;
  memory.saved = predicts_all_targets() ? 0 : image;
  if (!training) {
    memory.forward_scratch += kept;
    return memory;
  }
  memory.saved += kept;
  memory.backward_scratch =
      buffers + operands(patches) +
      std::max(image + (is_bf16 ? arena_bytes(patches) : 0), sums_backward ? sum : 0);
  memory.released = memory.saved;
  return memory;
}

std::int64_t ForecastHead::flops(std::int64_t batch) const {
  const std::int64_t rows = batch * plan_.tokens();
  std::int64_t total = last_->flops(rows);
  for (const ChainLinear& linear : hidden_) total += linear.flops(rows);
  return total;
}

std::vector<Output> ForecastHead::outputs(const Step& step) const {
  return {{"prediction", step.prediction_bvhw, all_variables_, variable_split_}};
}

}  // namespace trib::model
