#include "model/model.h"

#include <algorithm>

#include <fmt/format.h>

#include "model/aggregation/aggregation.h"
#include "model/encoder.h"
#include "model/forecast_head.h"
#include "model/mae_head.h"
#include "model/masking.h"
#include "model/plan.h"
#include "model/tokenizer.h"
#include "ops/base/error.h"
#include "ops/kernels/patchify.h"

namespace trib::model {
namespace {

constexpr const char* kOrder = "tokenizer, aggregation, encoder, head";

void require_mlp_ratio(const char* layer, double ratio, std::int64_t dim) {
  if (!(static_cast<double>(dim) * ratio >= 1)) {
    throw ConfigError(
        fmt::format("{}: mlp_ratio {} leaves no hidden dim of {}", layer, ratio, dim));
  }
}

void require_rate(const char* layer, const char* option, double rate) {
  if (!(rate >= 0 && rate < 1)) {
    throw ConfigError(
        fmt::format("{}: {} is {}, expected at least 0 and below 1", layer, option, rate));
  }
}

// Sine-cosine embeddings of a grid spend a quarter of the dim each on sine and cosine of each axis.
void require_sincos_dim(const char* layer, std::int64_t dim) {
  if (dim < 4 || dim % 4 != 0) {
    throw ConfigError(fmt::format("{}: dim {} is not a multiple of 4", layer, dim));
  }
}

}  // namespace

void require_heads(const char* layer, std::int64_t heads, std::int64_t dim) {
  if (heads < 1 || dim % heads != 0) {
    throw ConfigError(fmt::format("{}: {} heads do not divide dim {}", layer, heads, dim));
  }
}

void require_at_least(const char* layer, const char* option, std::int64_t value,
                      std::int64_t least) {
  if (value < least) {
    throw ConfigError(
        fmt::format("{}: {} is {}, expected at least {}", layer, option, value, least));
  }
}

std::int64_t InputSpec::find_channel(std::string_view name) const {
  const auto found = std::find(channels.begin(), channels.end(), name);
  return found == channels.end() ? -1 : found - channels.begin();
}

Model::Model(InputSpec input, const Division& division, Precision precision)
    : input_(std::move(input)),
      table_(precision),
      plan_(std::make_unique<ModelPlan>(
          ModelPlan{.input = input_, .operand = operand_type(precision)})) {
  require_at_least("model", "number of channels", plan_->all_channels(), 1);
  division.check(plan_->all_channels());
  plan_->division = division;
  plan_->group = TensorGroup(division.rank, division.ranks);
  plan_->own_channels = division.own_channels(plan_->all_channels());
  plan_->own_targets =
      model::own_targets(input_.targets, input_.channels, own_input().channels, division);
}

Model::~Model() = default;

void Model::connect(ops::Communicator& communicator) {
  plan_->group.connect(communicator);
}

const TensorGroup& Model::group() const {
  return plan_->group;
}
bool Model::divides_channels() const {
  return plan_->is_distributed();
}
Range Model::own_channels() const {
  return plan_->own_channels;
}
const std::vector<std::int64_t>& Model::own_targets() const {
  return plan_->own_targets;
}

InputSpec Model::own_input() const {
  InputSpec own = input_;
  own.channels.assign(input_.channels.begin() + plan_->own_channels.begin,
                      input_.channels.begin() + plan_->own_channels.end);
  own.targets.clear();
  for (const std::int64_t target : plan_->own_targets) {
    own.targets.push_back(input_.targets[static_cast<std::size_t>(target)]);
  }
  return own;
}

std::vector<std::string> Model::own_forecast_variables() const {
  const std::vector<std::string> targets = own_input().targets;
  std::vector<std::string> own;
  for (const std::string& name : forecast_variables_) {
    if (std::find(targets.begin(), targets.end(), name) != targets.end()) own.push_back(name);
  }
  return own;
}

void Model::require_turn(const char* layer, std::size_t place) const {
  if (layers_.size() != place) {
    throw ConfigError(fmt::format("{} added as layer {} of a model: the order is {}", layer,
                                  layers_.size() + 1, kOrder));
  }
}

Layer& Model::add(std::unique_ptr<Layer> layer) {
  layer->index_ = static_cast<int>(layers_.size());
  layers_.push_back(std::move(layer));
  return *layers_.back();
}

Layer& Model::add_tokenizer(const TokenizerOptions& options) {
  require_turn("tokenizer", 0);
  require_at_least("tokenizer", "patch", options.patch, 1);
  require_sincos_dim("tokenizer", options.dim);
  if (input_.height < 1 || input_.width < 1 || input_.height % options.patch != 0 ||
      input_.width % options.patch != 0) {
    throw ConfigError(fmt::format("tokenizer: patch {} does not divide the image of {} x {}",
                                  options.patch, input_.height, input_.width));
  }
  plan_->patch = options.patch;
  plan_->grid_height = input_.height / options.patch;
  plan_->grid_width = input_.width / options.patch;
  plan_->dim = options.dim;
  plan_->num_visible = plan_->tokens();
  auto tokenizer = std::make_unique<Tokenizer>(table_, *plan_);
  plan_->tokenizer = tokenizer.get();
  return add(std::move(tokenizer));
}

Layer& Model::add_aggregation(const AggregationOptions& options) {
  require_turn("aggregation", 1);
  plan_->forms_tokens = !options.fused;
  return add(make_aggregation(table_, *plan_, options));
}

Layer& Model::add_encoder(const EncoderOptions& options) {
  require_turn("encoder", 2);
  require_at_least("encoder", "depth", options.depth, 0);
  require_heads("encoder", options.heads, plan_->dim);
  require_mlp_ratio("encoder", options.mlp_ratio, plan_->dim);
  require_rate("encoder", "drop_rate", options.drop_rate);
  require_rate("encoder", "drop_path_rate", options.drop_path_rate);
  require_at_least("encoder", "recompute", options.recompute, 0);
  plan_->lead_time = options.lead_time;
  plan_->drops = options.drop_rate > 0 || options.drop_path_rate > 0;
  return add(std::make_unique<Encoder>(table_, *plan_, options));
}

Layer& Model::add_mae_head(const MaeHeadOptions& options) {
  require_turn("mae head", 3);
  require_at_least("mae head", "depth", options.depth, 0);
  require_sincos_dim("mae head", options.dim);
  require_heads("mae head", options.heads, options.dim);
  require_mlp_ratio("mae head", options.mlp_ratio, options.dim);
  require_at_least("mae head", "recompute", options.recompute, 0);
  const std::int64_t visible = visible_tokens(plan_->tokens(), options.mask_ratio);
  if (!(options.mask_ratio > 0) || visible < 1 || visible >= plan_->tokens()) {
    throw ConfigError(fmt::format("mae head: mask_ratio {} leaves {} of {} tokens visible",
                                  options.mask_ratio, visible, plan_->tokens()));
  }
  plan_->masked = true;
  plan_->num_visible = visible;
  reconstructs_ = !options.norm_pix;
  return add(std::make_unique<MaeHead>(table_, *plan_, options));
}

void Model::write_reconstruction(const Step& step, float* x_bchw) const {
  if (!reconstructs_) throw RuntimeError("the head reconstructs no images");
  ops::unpatchify(x_bchw, step.prediction.data<float>(), step.batch(), plan_->channels(),
                  plan_->grid_height * plan_->patch, plan_->grid_width * plan_->patch,
                  plan_->patch);
}

Layer& Model::add_forecast_head(const ForecastHeadOptions& options) {
  require_turn("forecast head", 3);
  require_at_least("forecast head", "depth", options.depth, 0);
  Layer& head = add(std::make_unique<ForecastHead>(table_, *plan_, options));
  forecast_variables_ = options.variables.empty() ? input_.targets : options.variables;
  return head;
}

bool Model::has_loss() const {
  constexpr std::size_t kLayersBeforeHead = 3;
  return layers_.size() > kLayersBeforeHead;
}

std::int64_t Model::tokens() const {
  return plan_->tokens();
}
std::int64_t Model::dim() const {
  return plan_->dim;
}

void Model::begin(Step& step, std::uint64_t seed) const {
  const StepInput& input = step.input;
  expect_shape(input.x_bchw, "x_bchw", {-1, plan_->channels(), input_.height, input_.width});
  const std::int64_t batch = step.batch();
  if (input.target_bvhw.defined()) {
    expect_shape(
        input.target_bvhw, "target_bvhw",
        {batch, static_cast<std::int64_t>(plan_->own_targets.size()), input_.height, input_.width});
  }
  if (plan_->lead_time && static_cast<std::int64_t>(input.lead_hours.size()) != batch) {
    throw ShapeError(
        fmt::format("lead_hours: expected {} values, found {}", batch, input.lead_hours.size()));
  }
  const bool needs_keys = plan_->masked || (plan_->drops && step.training);
  if (needs_keys && static_cast<std::int64_t>(input.sample_keys.size()) != batch) {
    throw ShapeError(
        fmt::format("sample_keys: expected {} values, found {}", batch, input.sample_keys.size()));
  }
  step.states.resize(layers_.size());
  step.seed = seed;
  if (plan_->masked) {
    draw_masks(step.masking, seed, input.sample_keys, plan_->tokens(), plan_->num_visible);
  }
  step.loss = 0;
  step.loss_terms.clear();
  for (const auto& layer : layers_) layer->begin(step);
  step.parameters.enter(0, table_.last_unit() > 0 ? 1 : -1, Pass::forward);
}

void Model::forward(Step& step) const {
  for (const auto& layer : layers_) layer->forward(step);
}

void Model::backward(Step& step, Parameters& parameters, float loss_scale) const {
  if (!step.training) throw RuntimeError("backward of a step that does not train");
  step.loss_scale = loss_scale;
  const int last = table_.last_unit();
  parameters.enter(last, table_.unit(last).next_backward, Pass::backward);
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    (*layer)->backward(step, parameters);
  }
}

std::int64_t Model::arena_bytes(std::int64_t batch, bool training) const {
  std::int64_t held = 0;
  for (const auto& layer : layers_) held += layer->memory(batch, training).throughout;
  std::int64_t peak = held;
  for (const auto& layer : layers_) {
    const LayerMemory memory = layer->memory(batch, training);
    held += memory.saved;
    peak = std::max(peak, held + memory.forward_scratch);
  }
  if (!training) return peak;
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    const LayerMemory memory = (*layer)->memory(batch, training);
    held += memory.passed_back;
    peak = std::max(peak, held + memory.backward_scratch);
    held -= memory.released;
  }
  return peak;
}

std::int64_t Model::flops(std::int64_t batch) const {
  std::int64_t total = 0;
  for (const auto& layer : layers_) total += layer->flops(batch);
  return total;
}

}  // namespace trib::model
