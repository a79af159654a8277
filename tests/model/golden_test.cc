// Whole models and the optimizer against PyTorch (tests/golden/make_golden.py).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "model/model.h"
#include "model/optimizer.h"

namespace trib::model {
namespace {

std::string golden(const std::string& name) {
  return std::string(TRIB_SOURCE_DIR) + "/tests/golden/" + name + ".safetensors";
}

// Largest difference relative to the largest expected element, or to `floor` if that is larger.
double relative_error(const Tensor& found, const Tensor& expected, double floor = 0) {
  EXPECT_EQ(found.numel(), expected.numel());
  double difference = 0, largest = floor;
  for (std::int64_t i = 0; i < expected.numel(); ++i) {
    const double e = expected.data<float>()[i];
    difference = std::max(difference, std::abs(found.data<float>()[i] - e));
    largest = std::max(largest, std::abs(e));
  }
  return difference / largest;
}

void load_parameters(const io::SafetensorsFile& file, Parameters& parameters) {
  for (const ParameterSpec& spec : parameters.table().specs()) {
    Tensor value = parameters.value_tensor(parameters.table().find(spec.name));
    const Tensor loaded = file.read("param/" + spec.name);
    EXPECT_EQ(loaded.shape(), value.shape()) << spec.name;
    loaded.copy_to(value);
  }
}

void load_masking(const io::SafetensorsFile& file, Masking& masking) {
  const Tensor visible = file.read("visible"), restore = file.read("ids_restore");
  ASSERT_EQ(visible.dim(1), masking.num_visible);
  masking.visible.assign(visible.data<std::int32_t>(),
                         visible.data<std::int32_t>() + visible.numel());
  masking.ids_restore.assign(restore.data<std::int32_t>(),
                             restore.data<std::int32_t>() + restore.numel());
}

void expect_golden(const Model& model, const std::string& name) {
  const io::SafetensorsFile file(golden(name));
  Parameters parameters(model.table());
  load_parameters(file, parameters);

  StepInput input;
  input.x_bchw = file.read("x");
  input.sample_keys = {0, 1, 2};
  if (file.contains("target")) {
    input.target_bvhw = file.read("target");
    const Tensor hours = file.read("lead_hours");
    input.lead_hours.assign(hours.data<float>(), hours.data<float>() + hours.numel());
  }
  StepArena arena;
  Step step(input, arena, parameters, /*train=*/true);
  model.begin(step, 0);
  if (file.contains("visible")) load_masking(file, step.masking);
  model.forward(step);
  model.backward(step, parameters);

  const double loss = *file.read("loss").data<float>();
  EXPECT_NEAR(step.loss, loss, 1e-5 * loss);
  EXPECT_LT(relative_error(step.prediction, file.read("prediction")), 1e-5);
  std::int64_t gradients = 0;
  for (const ParameterSpec& spec : model.table().specs()) {
    const Tensor found = parameters.gradient_tensor(model.table().find(spec.name));
    if (!spec.trainable) {
      EXPECT_EQ(*std::max_element(found.data<float>(), found.data<float>() + found.numel()), 0);
      continue;
    }
    // A shift of all dims does not pass the encoder's layer norms, so the gradient of the linear
    // aggregation's bias is 0 but for rounding: hence the floor.
    EXPECT_LT(relative_error(found, file.read("grad/" + spec.name), 1e-2), 1e-4) << spec.name;
    ++gradients;
  }
  // Nothing in the file was left out.
  std::int64_t in_file = 0;
  for (const auto& entry : file.entries()) in_file += entry.name.starts_with("grad/") ? 1 : 0;
  EXPECT_EQ(gradients, in_file);
}

Model& with_trunk(Model& model, AggregationKind kind, std::int64_t depth, bool lead_time = false) {
  model.add_tokenizer({.patch = 2, .dim = 16});
  model.add_aggregation({.kind = kind, .heads = 2});
  model.add_encoder({.depth = depth, .heads = 2, .mlp_ratio = 2, .lead_time = lead_time});
  return model;
}

InputSpec spectral_input() {
  return {.channels = {"B01", "B02", "B03", "B04", "B05"},
          .height = 8,
          .width = 8,
          .targets = {},
          .latitudes = {}};
}

MaeHeadOptions mae_options(bool norm_pix) {
  return {
      .mask_ratio = 0.75, .dim = 8, .depth = 1, .heads = 2, .mlp_ratio = 2, .norm_pix = norm_pix};
}

TEST(Golden, MaeWithCrossAttention) {
  Model model(spectral_input());
  with_trunk(model, AggregationKind::cross_attention, 2).add_mae_head(mae_options(false));
  expect_golden(model, "mae_cross_attention");
}

TEST(Golden, MaeWithNormalizedPixels) {
  Model model(spectral_input());
  with_trunk(model, AggregationKind::cross_attention, 1).add_mae_head(mae_options(true));
  expect_golden(model, "mae_cross_attention_norm_pix");
}

TEST(Golden, MaeWithLinearAggregation) {
  Model model(spectral_input());
  with_trunk(model, AggregationKind::linear, 1).add_mae_head(mae_options(false));
  expect_golden(model, "mae_linear");
}

TEST(Golden, ForecastWithLeadTimeAndLatitudes) {
  InputSpec input = spectral_input();
  input.targets = {"t2m", "u10"};
  for (int h = 0; h < 8; ++h) input.latitudes.push_back(-78.75 + 22.5 * h);
  Model model(input);
  with_trunk(model, AggregationKind::cross_attention, 2, /*lead_time=*/true)
      .add_forecast_head({.depth = 2, .variables = {}});
  expect_golden(model, "forecast_cross_attention");
}

TEST(Golden, AdamW) {
  const io::SafetensorsFile file(golden("adamw"));
  ParameterTable table;
  table.add({.name = "weight", .shape = {4, 6}});
  table.add({.name = "norm.bias", .shape = {7}, .decay = false});
  Parameters parameters(table);
  const auto load = [&](const std::string& folder, bool gradients) {
    for (const ParameterSpec& spec : table.specs()) {
      const ParameterId id = table.find(spec.name);
      Tensor to = gradients ? parameters.gradient_tensor(id) : parameters.value_tensor(id);
      file.read(folder + "/" + spec.name).copy_to(to);
    }
  };
  load("before", false);
  AdamW adamw(ShardLayout(table), {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.05});
  for (int step = 0; step < 3; ++step) {
    load("grad" + std::to_string(step), true);
    // Clipping multiplies the gradients: doubling them first must change nothing.
    float* gradient = parameters.flat_gradients().data<float>();
    for (std::int64_t i = 0; i < table.flat_size(); ++i) gradient[i] *= 2;
    adamw.step(parameters, 1e-2 / (step + 1), 0.5);
  }
  EXPECT_EQ(adamw.steps(), 3);
  for (const ParameterSpec& spec : table.specs()) {
    const Tensor found = parameters.value_tensor(table.find(spec.name));
    EXPECT_LT(relative_error(found, file.read("after/" + spec.name)), 1e-6) << spec.name;
  }
}

}  // namespace
}  // namespace trib::model
