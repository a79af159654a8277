// Gradients of modules and whole models against central differences.
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/transformer.h"
#include "ops/kernels/activation.h"
#include "tests/model/model_testing.h"
#include "tests/support/gradient_check.h"

namespace trib::model {
namespace {

using test::Head;
using test::SmallModelOptions;

// The floor is what float leaves of a difference of losses, whatever compiles it.
constexpr test::GradientCheck kCheck{
    .step = 4e-3, .tolerance = 4e-3, .max_elements = 24, .floor = 1e-2};

std::span<float> elements(Tensor tensor) {
  return {tensor.data<float>(), static_cast<std::size_t>(tensor.numel())};
}

struct NamedModel {
  std::string name;
  SmallModelOptions options;
};

class ModelGradient : public testing::TestWithParam<NamedModel> {};

TEST_P(ModelGradient, OfEveryParameter) {
  const SmallModelOptions& options = GetParam().options;
  const auto model = test::small_model(options);
  Parameters parameters(model->table());
  test::fill_parameters(parameters);
  const StepInput input = test::small_batch(*model, options.batch);
  {
    StepArena arena;
    Step step(input, arena, parameters, /*train=*/true);
    model->begin(step, 5);
    model->forward(step);
    model->backward(step, parameters);
  }
  for (const ParameterSpec& spec : model->table().specs()) {
    const ParameterId id = model->table().find(spec.name);
    const std::span<float> gradient = elements(parameters.gradient_tensor(id));
    // A shift of all dims does not pass the layer norms, unless some of them are dropped.
    if (spec.name == "var_agg.bias" && options.drop_rate == 0) {
      EXPECT_LT(std::abs(gradient[0]), 1e-5);
    } else if (spec.trainable) {
      test::check_gradient(
          spec.name, elements(parameters.value_tensor(id)), gradient,
          [&] { return test::loss_of(*model, parameters, input, /*training=*/true); }, kCheck);
    } else {
      for (const float g : gradient) EXPECT_EQ(g, 0) << spec.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, ModelGradient,
    testing::Values(
        NamedModel{"MaeCrossAttention", {}},
        NamedModel{"MaeCrossAttentionPublished", {.depth = 1, .fused = false}},
        NamedModel{"MaeLinear", {.aggregation = AggregationKind::linear, .depth = 1}},
        NamedModel{"MaeLinearPublished",
                   {.aggregation = AggregationKind::linear, .depth = 1, .fused = false}},
        NamedModel{"DchagCrossAttention", {.depth = 1, .partitions = 2}},
        NamedModel{"DchagPublished", {.depth = 1, .fused = false, .partitions = 2}},
        NamedModel{"DchagLinear",
                   {.aggregation = AggregationKind::linear, .depth = 1, .partitions = 2}},
        NamedModel{"DchagTree", {.depth = 1, .partitions = 1, .tree = 2}},
        NamedModel{"DchagTreeUnshared", {.depth = 1, .partitions = 1, .tree = 2, .share = false}},
        NamedModel{
            "DchagLinearTree",
            {.aggregation = AggregationKind::linear, .depth = 1, .partitions = 1, .tree = 2}},
        NamedModel{"DchagLinearTreePublished",
                   {.aggregation = AggregationKind::linear,
                    .depth = 1,
                    .fused = false,
                    .partitions = 1,
                    .tree = 2,
                    .share = false}},
        NamedModel{"MaeNormPix", {.depth = 1, .norm_pix = true}},
        NamedModel{"ForecastCrossAttention", {.head = Head::forecast, .lead_time = true}},
        NamedModel{"ForecastLinear",
                   {.head = Head::forecast, .aggregation = AggregationKind::linear, .depth = 1}},
        NamedModel{"MaeDropout", {.batch = 4, .drop_rate = 0.3, .drop_path_rate = 0.4}},
        NamedModel{"MaeDropPath", {.depth = 3, .batch = 4, .drop_path_rate = 0.4}},
        NamedModel{"ForecastDropout",
                   {.head = Head::forecast,
                    .aggregation = AggregationKind::linear,
                    .lead_time = true,
                    .batch = 4,
                    .drop_rate = 0.3,
                    .drop_path_rate = 0.4}},
        NamedModel{"ForecastResidual", {.head = Head::forecast, .depth = 0, .residual = true}}),
    [](const auto& instance) { return instance.param.name; });

TEST(ModelBackward, AccumulatesAndScales) {
  const auto model = test::small_model({});
  Parameters once(model->table()), twice(model->table());
  test::fill_parameters(once);
  test::fill_parameters(twice);
  const StepInput input = test::small_batch(*model, 2);
  const auto backward = [&](Parameters& parameters, float scale) {
    StepArena arena;
    Step step(input, arena, parameters, /*train=*/true);
    model->begin(step, 5);
    model->forward(step);
    model->backward(step, parameters, scale);
  };
  backward(once, 1);
  backward(twice, 0.25F);
  backward(twice, 0.75F);
  const std::span<float> a = elements(once.flat_gradients()), b = elements(twice.flat_gradients());
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-6) << i;
}

TEST(TransformerGradient, OfTheInput) {
  ParameterTable table;
  const std::int64_t batch = 2, tokens = 5, dim = 12;
  const TensorGroup alone;
  const Transformer transformer(table, "", {.dim = dim, .depth = 2, .heads = 3, .mlp_ratio = 1.5},
                                alone);
  Parameters parameters(table);
  test::fill_parameters(parameters);
  Tensor x = test::normal_tensor({batch, tokens, dim}, "x");
  const Tensor weight = test::normal_tensor({batch, tokens, dim}, "weight");

  // The loss is a weighted sum of the outputs, whose gradient by them is the weight.
  const auto run = [&](StepArena& arena, Transformer::Saved& saved) {
    Tensor stream = x.clone(), out = Tensor::empty(x.shape());
    transformer.forward(parameters, arena, saved, out.data<float>(), stream.data<float>(), batch,
                        tokens, /*training=*/true);
    double loss = 0;
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      loss += static_cast<double>(out.data<float>()[i]) * weight.data<float>()[i];
    }
    return loss;
  };
  StepArena arena;
  Transformer::Saved saved;
  run(arena, saved);
  Tensor dx = weight.clone();
  transformer.backward(parameters, arena, saved, dx.data<float>(), dx.data<float>(), batch, tokens);
  test::check_gradient(
      "x", elements(x), elements(dx),
      [&] {
        StepArena fresh;
        Transformer::Saved other;
        return run(fresh, other);
      },
      kCheck);
}

}  // namespace
}  // namespace trib::model
