// A batch, a model and its buffers, for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "model/model.h"
#include "ops/base/random.h"

namespace trib::test {

/// Overwrite with normal numbers of a stream of its own.
inline void fill_normal(Tensor& tensor, const std::string& stream, float stddev = 1) {
  const RandomStream random(11, stream);
  float* x = tensor.data<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    x[i] = stddev * random.normal(static_cast<std::uint64_t>(i));
  }
}

inline Tensor normal_tensor(const Shape& shape, const std::string& stream) {
  Tensor tensor = Tensor::empty(shape);
  fill_normal(tensor, stream);
  return tensor;
}

/// Give every parameter values that keep all paths alive: zero queries and unit norms would hide
/// mistakes.
inline void fill_parameters(model::Parameters& parameters) {
  for (const model::ParameterSpec& spec : parameters.table().specs()) {
    Tensor value = parameters.value_tensor(parameters.table().find(spec.name));
    fill_normal(value, spec.name, spec.shape.rank() == 1 ? 0.2F : 0.3F);
    if (spec.init != model::Init::ones) continue;
    float* weight = value.data<float>();
    for (std::int64_t i = 0; i < value.numel(); ++i) weight[i] += 1;
  }
  parameters.values_changed();
}

enum class Head { mae, forecast };

struct SmallModelOptions {
  Head head = Head::mae;
  model::AggregationKind aggregation = model::AggregationKind::cross_attention;
  std::int64_t depth = 2;
  bool norm_pix = false;
  bool lead_time = false;
  bool residual = false;
  std::int64_t batch = 2;
  std::int64_t dim = 16;
  bool fused = true;
  std::int64_t partitions = 0;  // of D-CHAG; 0: all channels at once
  std::int64_t tree = 0;
  bool share = true;
  double drop_rate = 0;
  double drop_path_rate = 0;
  std::int64_t recompute = 0;  // of encoder and decoder
  std::int64_t decoder_depth = 1;
  model::Precision precision = model::Precision::fp32;
};

/// Three channels of 8 x 12 pixels, patches of 4 x 4: six tokens, odd sizes where they are allowed.
inline std::unique_ptr<model::Model> small_model(const SmallModelOptions& options) {
  auto made = std::make_unique<model::Model>(
      model::InputSpec{.channels = {"t2m", "u10", "z500"},
                       .height = 8,
                       .width = 12,
                       .targets = {"u10", "tp", "t2m"},
                       .latitudes = {-78.75, -56.25, -33.75, -11.25, 11.25, 33.75, 56.25, 78.75}},
      model::Division{.partitions = options.partitions}, options.precision);
  made->add_tokenizer({.patch = 4, .dim = options.dim});
  made->add_aggregation(
      {.kind = options.aggregation,
       .heads = 2,
       .hierarchy = options.partitions > 0 ? model::Hierarchy::dchag : model::Hierarchy::none,
       .tree = options.tree,
       .share = options.share,
       .fused = options.fused});
  made->add_encoder({.depth = options.depth,
                     .heads = 2,
                     .mlp_ratio = 2,
                     .lead_time = options.lead_time,
                     .drop_rate = options.drop_rate,
                     .drop_path_rate = options.drop_path_rate,
                     .recompute = options.recompute});
  if (options.head == Head::mae) {
    made->add_mae_head({.mask_ratio = 0.5,
                        .dim = 8,
                        .depth = options.decoder_depth,
                        .heads = 2,
                        .norm_pix = options.norm_pix,
                        .recompute = options.recompute});
  } else if (options.residual) {
    made->add_forecast_head({.depth = 1, .variables = {"t2m", "u10"}, .residual = true});
  } else {
    made->add_forecast_head({.depth = 2});
  }
  return made;
}

inline model::StepInput small_batch(const model::Model& model, std::int64_t batch) {
  const model::InputSpec& input = model.input();
  model::StepInput made;
  made.x_bchw = normal_tensor(
      {batch, static_cast<std::int64_t>(input.channels.size()), input.height, input.width}, "x");
  made.target_bvhw = normal_tensor(
      {batch, static_cast<std::int64_t>(input.targets.size()), input.height, input.width},
      "target");
  for (std::int64_t b = 0; b < batch; ++b) {
    made.lead_hours.push_back(static_cast<float>(24 * (b + 1)));
    made.sample_keys.push_back(static_cast<std::uint64_t>(100 + b));
  }
  return made;
}

/// One forward on a fresh arena; returns the loss.
inline double loss_of(const model::Model& model, const model::Parameters& parameters,
                      const model::StepInput& input, bool training = false) {
  StepArena arena;
  model::Step step(input, arena, parameters, training);
  model.begin(step, 5);
  model.forward(step);
  return step.loss;
}

}  // namespace trib::test
