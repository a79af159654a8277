#include "model/forecast_head.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/arena_count.h"
#include "ops/base/error.h"
#include "ops/base/parallel.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/loss.h"
#include "ops/kernels/patchify.h"

namespace trib::model {

struct ForecastHead::State final : LayerState {
  const float* target_bvhw = nullptr;         // null without targets
  std::vector<double> loss_share_b;           // own finite target pixels over those of all ranks
  std::vector<const float*> inputs_ri;        // of each Linear
  std::vector<const float*> preactivated_ro;  // of each GELU
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

void ForecastHead::forward(Step& step) const {
  const std::int64_t batch = step.batch(), rows = batch * plan_.tokens();
  auto& state = step.make_state<State>(index());
  step.prediction_bvhw =
      step.arena.tensor({batch, variables(), plan_.input.height, plan_.input.width});
  step.prediction = step.prediction_bvhw;
  float* prediction_bvhw = step.prediction_bvhw.data<float>();
  if (step.input.target_bvhw.defined()) state.target_bvhw = predicted_targets(step);
  {
    std::optional<StepArena::Scope> inference;
    if (!step.training) inference.emplace(step.arena);
    const float* x_ri = step.x_bnd.data<float>();
    for (std::int64_t i = 0; i < hidden_depth(); ++i) {
      const ChainLinear& linear = hidden_[static_cast<std::size_t>(i)];
      float* preactivated_ro = step.arena.floats(rows * linear.out());
      float* activated_ro = step.arena.floats(rows * linear.out());
      linear.forward(step.parameters, preactivated_ro, x_ri, rows);
      ops::gelu_forward(activated_ro, preactivated_ro, rows * linear.out());
      state.inputs_ri.push_back(x_ri);
      state.preactivated_ro.push_back(preactivated_ro);
      x_ri = activated_ro;
    }
    state.inputs_ri.push_back(x_ri);
    const StepArena::Scope scope(step.arena);
    float* patches_rp = step.arena.floats(rows * last_->out());
    last_->forward(step.parameters, patches_rp, x_ri, rows);
    ops::unpatchify(prediction_bvhw, patches_rp, batch, variables(), plan_.input.height,
                    plan_.input.width, plan_.patch);
  }
  if (!channels_.empty()) add_input(step, prediction_bvhw);

  if (state.target_bvhw == nullptr) return;
  compute_loss(step, state);
}

// Each sample has a mean of its own, so that the loss does not depend on which samples share a
// batch.
void ForecastHead::compute_loss(Step& step, State& state) const {
  const auto batch = static_cast<std::size_t>(step.batch());
  const std::int64_t pixels = variables() * image_pixels();  // of a sample
  std::vector<double> sums(2 * batch);                       // of errors, of finite pixels
  for (std::size_t b = 0; b < batch; ++b) {
    const std::int64_t first = static_cast<std::int64_t>(b) * pixels;
    sums[batch + b] = ops::count_valid(state.target_bvhw + first, pixels);
    sums[b] = sums[batch + b] *
              ops::weighted_mse_forward(step.prediction_bvhw.data<float>() + first,
                                        state.target_bvhw + first, row_weights_.data(), variables(),
                                        plan_.input.height, plan_.input.width);
  }
  const std::vector<double> own = sums;
  if (plan_.is_distributed()) plan_.group.all_reduce(sums);
  state.loss_share_b.assign(batch, 0);
  step.loss = 0;
  for (std::size_t b = 0; b < batch; ++b) {
    const double count = sums[batch + b];
    if (count == 0) continue;
    state.loss_share_b[b] = own[batch + b] / count;
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

// The predicted variables' targets side by side.
const float* ForecastHead::predicted_targets(const Step& step) const {
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
  const std::int64_t batch = step.batch(), rows = batch * plan_.tokens();
  const auto& state = step.state<State>(index());
  if (state.target_bvhw == nullptr) {
    throw RuntimeError("forecast head: backward of a step without targets");
  }
  step.d_x_bnd = step.arena.tensor({batch, plan_.tokens(), plan_.dim});

  const StepArena::Scope scope(step.arena);
  // The gradient goes back and forth between two buffers and ends in the first.
  float* d_rd[2] = {step.d_x_bnd.data<float>(), step.arena.floats(rows * plan_.dim)};
  {
    const StepArena::Scope loss(step.arena);
    const std::int64_t pixels = variables() * image_pixels();  // of a sample
    float* d_prediction_bvhw = step.arena.floats(batch * pixels);
    float* d_patches_rp = step.arena.floats(rows * last_->out());
    for (std::int64_t b = 0; b < batch; ++b) {
      const double share = state.loss_share_b[static_cast<std::size_t>(b)];
      ops::weighted_mse_backward(
          d_prediction_bvhw + b * pixels, step.prediction_bvhw.data<float>() + b * pixels,
          state.target_bvhw + b * pixels, row_weights_.data(), variables(), plan_.input.height,
          plan_.input.width,
          static_cast<float>(step.loss_scale * share / static_cast<double>(batch)));
    }
    ops::patchify(d_patches_rp, d_prediction_bvhw, batch, variables(), plan_.input.height,
                  plan_.input.width, plan_.patch);
    last_->backward(parameters, d_rd[hidden_depth() % 2], d_patches_rp, state.inputs_ri.back(),
                    rows);
  }
  if (plan_.is_distributed()) plan_.group.all_reduce(d_rd[hidden_depth() % 2], rows * plan_.dim);
  for (std::int64_t i = hidden_depth(); i-- > 0;) {
    const auto k = static_cast<std::size_t>(i);
    float* d_activated_ro = d_rd[(i + 1) % 2];
    ops::gelu_backward(d_activated_ro, nullptr, d_activated_ro, state.preactivated_ro[k],
                       rows * hidden_[k].out());
    hidden_[k].backward(parameters, d_rd[i % 2], d_activated_ro, state.inputs_ri[k], rows);
  }
}

LayerMemory ForecastHead::memory(std::int64_t batch, bool training) const {
  const std::int64_t rows = batch * plan_.tokens();
  const std::int64_t image = arena_bytes(batch * variables() * image_pixels());
  const std::int64_t patches = arena_bytes(rows * last_->out());
  const std::int64_t x = arena_bytes(rows * plan_.dim);
  std::int64_t hidden = 0;
  for (const ChainLinear& linear : hidden_) hidden += 2 * arena_bytes(rows * linear.out());
  if (!training) return {.saved = 2 * image, .forward_scratch = hidden + patches};
  return {.saved = 2 * image + hidden,
          .forward_scratch = patches,
          .backward_scratch = x + image + patches,
          .passed_back = x};
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
