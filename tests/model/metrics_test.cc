#include "model/metrics.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::model {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(WeightedRmse, WeighsRowsAndSkipsMissingTargets) {
  const float prediction[] = {1, 2, 3, 4};
  const float target[] = {0, 0, 1, kNaN};
  const float weight[] = {0.5F, 1.5F};
  EXPECT_NEAR(weighted_rmse(prediction, target, weight, 2, 2),
              std::sqrt((0.5 * (1 + 4) + 1.5 * 4) / 3), 1e-12);
  const float nothing[] = {kNaN, kNaN, kNaN, kNaN};
  EXPECT_TRUE(std::isnan(weighted_rmse(prediction, nothing, weight, 2, 2)));
}

TEST(ForecastMetrics, ComparesWithPersistence) {
  const InputSpec input{.channels = {"t2m", "u10"},
                        .height = 2,
                        .width = 1,
                        .targets = {"tp", "u10"},
                        .latitudes = {0, 60}};
  ForecastMetrics metrics(input, {"u10", "tp"}, {2.0, 10.0});

  ParameterTable table;
  const Parameters none(table);
  StepArena arena;
  Step step({}, arena, none, /*train=*/false);
  float x[] = {9, 9, 1, 2, 9, 9, 5, 6};            // [b, (t2m, u10), h, 1]
  float target[] = {0, 0, 2, 4, 0, 0, 5, 6};       // [b, (tp, u10), h, 1]
  float prediction[] = {2, 5, 3, 3, 8, 9, -1, 1};  // [b, (u10, tp), h, 1]
  step.input.x_bchw = Tensor::view(x, {2, 2, 2, 1});
  step.input.target_bvhw = Tensor::view(target, {2, 2, 2, 1});
  step.prediction_bvhw = Tensor::view(prediction, {2, 2, 2, 1});
  metrics.add(step);

  // cos 0 = 1 and cos 60 = 1/2 over their mean: 4/3 and 2/3.
  const auto rmse = [](double first, double second) {
    return std::sqrt((4.0 / 3 * first * first + 2.0 / 3 * second * second) / 2);
  };
  const auto scores = metrics.scores();
  ASSERT_EQ(scores.size(), 2U);
  EXPECT_EQ(scores[0].variable, "u10");
  EXPECT_EQ(scores[0].samples, 2);
  EXPECT_NEAR(scores[0].rmse, 2.0 * (rmse(0, 1) + rmse(3, 3)) / 2, 1e-6);
  EXPECT_NEAR(scores[0].persistence, 2.0 * (rmse(1, 2) + rmse(0, 0)) / 2, 1e-6);
  EXPECT_EQ(scores[1].variable, "tp");
  EXPECT_NEAR(scores[1].rmse, 10.0 * (rmse(3, 3) + rmse(1, 1)) / 2, 1e-5);
  EXPECT_TRUE(std::isnan(scores[1].persistence));
}

TEST(ForecastMetrics, RefusesUnknownVariables) {
  const InputSpec input{.channels = {"t2m"}, .height = 2, .width = 2, .targets = {"t2m"}};
  EXPECT_THROW(ForecastMetrics(input, {"u10"}), ConfigError);
  EXPECT_THROW(ForecastMetrics(input, {"t2m"}, {1.0, 2.0}), ConfigError);
}

}  // namespace
}  // namespace trib::model
