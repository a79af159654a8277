#include "ops/kernels/vector/vector_math.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace trib::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(VectorMath, ExpIsAccurateOverItsWholeRange) {
  double worst = 0;
  for (float x = -87.33F; x < 88.72F; x += 1.37e-4F) {
    const double expected = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(vector_exp(x) / expected - 1));
  }
  EXPECT_LT(worst, 2e-7);
  RecordProperty("worst_relative_error", std::to_string(worst));
}

TEST(VectorMath, ExpAtTheEdges) {
  EXPECT_EQ(vector_exp(0.0F), 1.0F);
  EXPECT_EQ(vector_exp(-kInfinity), 0.0F);
  EXPECT_EQ(vector_exp(-1000.0F), 0.0F);
  EXPECT_EQ(vector_exp(-3e38F), 0.0F);
  EXPECT_EQ(vector_exp(kInfinity), kInfinity);
  EXPECT_EQ(vector_exp(89.0F), kInfinity);
  EXPECT_EQ(vector_exp(3e38F), kInfinity);
  EXPECT_TRUE(std::isnan(vector_exp(kNan)));
  EXPECT_TRUE(std::isnan(vector_exp(-kNan)));
}

TEST(VectorMath, RowHelpers) {
  std::vector<float> x;
  double sum = 0, product = 0;
  for (int i = 0; i < 77; ++i) {
    x.push_back(0.1F * static_cast<float>((i * 37) % 77));
    sum += std::exp(static_cast<double>(x.back()) - 7.6);
    product += static_cast<double>(x.back()) * x.back();
  }
  EXPECT_FLOAT_EQ(max_of(x.data(), 77, -kInfinity), 7.6F);
  EXPECT_FLOAT_EQ(max_of(x.data(), 77, 9.0F), 9.0F);
  EXPECT_NEAR(dot(x.data(), x.data(), 77), product, 1e-6 * product);
  EXPECT_NEAR(exp_and_sum(x.data(), 7.6F, 77), sum, 1e-6 * sum);
  EXPECT_FLOAT_EQ(x[1], std::exp(3.7F - 7.6F));
}

}  // namespace
}  // namespace trib::ops
