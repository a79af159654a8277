#include "ops/kernels/loss.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Floats;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kScale = 0.25F;  // the upstream gradient

// A double as two floats, so that all its bits can be compared.
void append(Floats& values, double x) {
  values.push_back(static_cast<float>(x));
  values.push_back(static_cast<float>(x - static_cast<float>(x)));
}

struct Shape {
  std::int64_t images, height, width;
};

class Loss : public testing::TestWithParam<Shape> {
 protected:
  Loss() {
    for (std::int64_t r = 0; r < rows; ++r) mask.push_back(r % 3 == 1 ? 0.0F : 1.0F);
    std::vector<double> latitudes;
    for (std::int64_t h = 0; h < height; ++h) {
      latitudes.push_back(-90.0 + (static_cast<double>(h) + 0.5) * 180.0 / height);
    }
    latitude_weights(weight.data(), latitudes.data(), height);
  }
  void check_gradient(const Floats& gradient, const std::function<double()>& loss) {
    test::check_gradient("prediction", prediction, gradient, [&] { return kScale * loss(); },
                         {.tolerance = 1e-3});
  }

  const std::int64_t images = GetParam().images, height = GetParam().height;
  const std::int64_t width = GetParam().width, rows = images * height, count = rows * width;
  Floats prediction = test::random_values("prediction", count);
  Floats target = test::random_values("target", count);
  Floats mask, weight = Floats(reference::size(height));
};

TEST_P(Loss, MseAndItsGradient) {
  const Floats ones(1, 1.0F);
  const auto loss = [&] {
    return reference::weighted_mse(prediction.data(), target.data(), ones.data(), 1, 1, count);
  };
  EXPECT_NEAR(mse_forward(prediction.data(), target.data(), count), loss(), 1e-12 * loss());
  Floats d(prediction.size());
  mse_backward(d.data(), prediction.data(), target.data(), count, kScale);
  check_gradient(d, loss);
}

TEST_P(Loss, MaskedMseAndItsGradient) {
  // What is masked out may be anything.
  for (std::int64_t r = 1; r < rows; r += 3) target[reference::size(r * width)] = kNan;
  const auto loss = [&] {
    return reference::masked_mse(prediction.data(), target.data(), mask.data(), rows, width);
  };
  EXPECT_NEAR(masked_mse_forward(prediction.data(), target.data(), mask.data(), rows, width),
              loss(), 1e-12 * loss());
  Floats d(prediction.size(), 1e9F);
  masked_mse_backward(d.data(), prediction.data(), target.data(), mask.data(), rows, width, kScale);
  check_gradient(d, loss);
}

TEST_P(Loss, WeightedMseAndItsGradient) {
  for (std::size_t i = 3; i < target.size(); i += 7) target[i] = kNan;
  const auto loss = [&] {
    return reference::weighted_mse(prediction.data(), target.data(), weight.data(), images, height,
                                   width);
  };
  EXPECT_NEAR(
      weighted_mse_forward(prediction.data(), target.data(), weight.data(), images, height, width),
      loss(), 1e-12 * loss());
  Floats d(prediction.size(), 1e9F);
  weighted_mse_backward(d.data(), prediction.data(), target.data(), weight.data(), images, height,
                        width, kScale);
  check_gradient(d, loss);
}

TEST_P(Loss, NormalizedPatchesHaveMeanZeroAndVarianceOne) {
  for (float& value : target) value = 5.0F + 3.0F * value;
  const Floats original = target;
  std::vector<double> mean_r(reference::size(rows)), variance_r(reference::size(rows));
  patch_sums(mean_r.data(), target.data(), rows, width);
  for (double& mean : mean_r) mean /= static_cast<double>(width);
  center_patches(target.data(), variance_r.data(), mean_r.data(), rows, width);
  for (double& variance : variance_r) {
    variance /= static_cast<double>(std::max<std::int64_t>(width - 1, 1));
  }
  scale_patches(target.data(), variance_r.data(), rows, width);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = original.data() + r * width;
    double mean = 0, variance = 0;
    for (std::int64_t i = 0; i < width; ++i) mean += row[i] / static_cast<double>(width);
    for (std::int64_t i = 0; i < width; ++i) variance += (row[i] - mean) * (row[i] - mean);
    variance /= static_cast<double>(std::max<std::int64_t>(width - 1, 1));
    for (std::int64_t i = 0; i < width; ++i) {
      const double expected = (row[i] - mean) / std::sqrt(variance + 1e-6);
      ASSERT_NEAR(target[reference::size(r * width + i)], expected, 2e-5);
    }
  }
}

TEST_P(Loss, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("losses", [&] {
    Floats result(prediction.size());
    weighted_mse_backward(result.data(), prediction.data(), target.data(), weight.data(), images,
                          height, width, kScale);
    append(result, mse_forward(prediction.data(), target.data(), count));
    append(result, masked_mse_forward(prediction.data(), target.data(), mask.data(), rows, width));
    append(result, weighted_mse_forward(prediction.data(), target.data(), weight.data(), images,
                                        height, width));
    return result;
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, Loss,
                         testing::Values(Shape{1, 1, 1}, Shape{2, 3, 5}, Shape{7, 32, 65},
                                         Shape{40, 64, 128}),
                         [](const auto& test_info) {
                           return std::to_string(test_info.param.images) + "x" +
                                  std::to_string(test_info.param.height) + "x" +
                                  std::to_string(test_info.param.width);
                         });

TEST(LossEdges, NothingThatCountsIsNoLossAndNoGradient) {
  const Floats prediction{1, 2, 3, 4}, nothing(4, kNan), mask{0, 0}, weight{1, 1};
  Floats d(4, 1e9F);
  EXPECT_EQ(masked_mse_forward(prediction.data(), nothing.data(), mask.data(), 2, 2), 0.0);
  masked_mse_backward(d.data(), prediction.data(), nothing.data(), mask.data(), 2, 2, 1.0F);
  EXPECT_EQ(d, Floats(4, 0.0F));
  EXPECT_EQ(weighted_mse_forward(prediction.data(), nothing.data(), weight.data(), 1, 2, 2), 0.0);
  d.assign(4, 1e9F);
  weighted_mse_backward(d.data(), prediction.data(), nothing.data(), weight.data(), 1, 2, 2, 1.0F);
  EXPECT_EQ(d, Floats(4, 0.0F));
}

TEST(LossEdges, NanInAPredictionShows) {
  const Floats prediction{kNan, 0}, target{0, 0}, one{1};
  EXPECT_TRUE(std::isnan(mse_forward(prediction.data(), target.data(), 2)));
  EXPECT_TRUE(
      std::isnan(weighted_mse_forward(prediction.data(), target.data(), one.data(), 1, 1, 2)));
}

TEST(LatitudeWeights, AreCosinesOfMeanOne) {
  const std::vector<double> latitudes{-60, -30, 0, 30, 60};
  Floats weight(5);
  latitude_weights(weight.data(), latitudes.data(), 5);
  const double mean = (0.5 + 0.5 + std::sqrt(3.0) + 1) / 5;
  EXPECT_NEAR(weight[0], 0.5 / mean, 1e-6);
  EXPECT_NEAR(weight[1], std::sqrt(0.75) / mean, 1e-6);
  EXPECT_NEAR(weight[2], 1 / mean, 1e-6);
  EXPECT_EQ(weight[0], weight[4]);
}

}  // namespace
}  // namespace trib::ops
