// A model in bfloat16 beside the same model in float32.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/optimizer.h"
#include "tests/model/model_testing.h"

namespace trib::model {
namespace {

using test::Head;
using test::SmallModelOptions;

// Products of numbers rounded to 8 bits, in a chain of some ten: a few times 2^-9.
constexpr double kRounding = 0.02;

struct Trained {
  std::vector<double> losses;
  std::vector<float> gradients;  // of the first step
};

Trained train(SmallModelOptions options, Precision precision, int steps) {
  options.precision = precision;
  const auto model = test::small_model(options);
  Parameters parameters(model->table());
  parameters.initialize(3);
  AdamW optimizer(ShardLayout(model->table()), {});
  StepArena arena;
  Trained trained;
  for (int number = 0; number < steps; ++number) {
    arena.reset();
    parameters.zero_gradients();
    Step step(test::small_batch(*model, options.batch), arena, parameters, /*train=*/true);
    model->begin(step, 5);
    model->forward(step);
    model->backward(step, parameters);
    trained.losses.push_back(step.loss);
    const Tensor& gradients = parameters.flat_gradients();
    if (number == 0) {
      trained.gradients.assign(gradients.data<float>(),
                               gradients.data<float>() + gradients.numel());
    }
    optimizer.step(parameters, 1e-2);
  }
  return trained;
}

class Bf16 : public testing::TestWithParam<SmallModelOptions> {};

TEST_P(Bf16, HasTheGradientsOfFloat32) {
  const Trained exact = train(GetParam(), Precision::fp32, 1);
  const Trained rounded = train(GetParam(), Precision::bf16, 1);
  EXPECT_NE(rounded.losses, exact.losses);
  EXPECT_NEAR(rounded.losses[0], exact.losses[0], kRounding * exact.losses[0]);
  double squares = 0, errors = 0;
  for (std::size_t i = 0; i < exact.gradients.size(); ++i) {
    const double difference = static_cast<double>(rounded.gradients[i]) - exact.gradients[i];
    squares += static_cast<double>(exact.gradients[i]) * exact.gradients[i];
    errors += difference * difference;
  }
  EXPECT_GT(squares, 0);
  EXPECT_LT(std::sqrt(errors / squares), kRounding);
}

TEST_P(Bf16, TrainsAsFloat32Does) {
  const Trained exact = train(GetParam(), Precision::fp32, 40);
  const Trained rounded = train(GetParam(), Precision::bf16, 40);
  EXPECT_LT(exact.losses.back(), 0.9 * exact.losses.front());
  for (std::size_t i = 0; i < exact.losses.size(); ++i) {
    EXPECT_NEAR(rounded.losses[i], exact.losses[i], 0.02 * exact.losses.front()) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, Bf16,
    testing::Values(SmallModelOptions{}, SmallModelOptions{.norm_pix = true, .dim = 32},
                    SmallModelOptions{.head = Head::forecast, .depth = 3, .lead_time = true},
                    SmallModelOptions{.head = Head::forecast, .residual = true},
                    SmallModelOptions{.head = Head::forecast,
                                      .aggregation = AggregationKind::linear,
                                      .depth = 3,
                                      .drop_rate = 0.1,
                                      .recompute = 2}));

TEST(Bf16, KeepsHalfOfTheActivationsOfABlock) {
  const SmallModelOptions options{.head = Head::forecast, .depth = 8, .dim = 64};
  SmallModelOptions halved = options;
  halved.precision = Precision::bf16;
  const LayerMemory exact = test::small_model(options)->layers()[2]->memory(2);
  const LayerMemory rounded = test::small_model(halved)->layers()[2]->memory(2);
  EXPECT_LT(static_cast<double>(rounded.saved), 0.56 * static_cast<double>(exact.saved));
}

// Whoever changes values says so; the copies are then theirs, rounded.
TEST(Bf16, CopiesFollowTheValues) {
  const auto model = test::small_model({.precision = Precision::bf16});
  Parameters parameters(model->table());
  parameters.initialize(3);
  const ParameterId id = model->table().find("blocks.1.mlp.fc1.weight");
  ASSERT_TRUE(model->table().spec(id).is_operand);
  const auto copied = [&](std::int64_t i) {
    return static_cast<float>(parameters.operand(id).as<BFloat16>()[i]);
  };
  EXPECT_EQ(copied(7), static_cast<float>(BFloat16(parameters.value(id)[7])));
  parameters.value(id)[7] = 1.0F;
  parameters.values_changed();
  EXPECT_EQ(copied(7), 1.0F);
}

TEST(Bf16, LeavesNormsAndTheAggregationAlone) {
  const auto model = test::small_model({.precision = Precision::bf16});
  for (const ParameterSpec& spec : model->table().specs()) {
    const bool is_matrix =
        spec.name.ends_with(".weight") && (spec.name.find("attn.") != std::string::npos ||
                                           spec.name.find("mlp.") != std::string::npos ||
                                           spec.name.find("decoder_embed") != std::string::npos ||
                                           spec.name.find("decoder_pred") != std::string::npos);
    EXPECT_EQ(spec.is_operand, is_matrix) << spec.name;
  }
}

}  // namespace
}  // namespace trib::model
