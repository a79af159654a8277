#include "ops/kernels/activation.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;

class Elements : public testing::TestWithParam<std::int64_t> {
 protected:
  const std::int64_t count = GetParam();
  Floats x = test::random_values("x", count, 3.0F);
  Floats dy = test::random_values("dy", count);
};

TEST_P(Elements, GeluMatchesTheReference) {
  Floats y(x.size());
  gelu_forward(y.data(), x.data(), count);
  const Doubles expected = reference::gelu(x.data(), count);
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], 1e-6) << x[i];
  Floats in_place = x;
  gelu_forward(in_place.data(), in_place.data(), count);
  EXPECT_EQ(in_place, y);
}

TEST_P(Elements, GeluBackwardIsTheGradient) {
  Floats dx(x.size());
  gelu_backward(dx.data(), nullptr, dy.data(), x.data(), count);
  const auto loss = [&] { return test::weighted_sum(reference::gelu(x.data(), count), dy); };
  test::check_gradient("x", x, dx, loss, {.step = 1e-3, .tolerance = 1e-3});
  Floats in_place = dy;
  gelu_backward(in_place.data(), nullptr, in_place.data(), x.data(), count);
  EXPECT_EQ(in_place, dx);
}

TEST_P(Elements, SumsMatchTheReference) {
  Floats sum = x;
  add(sum.data(), dy.data(), count);
  double squares = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(sum[i], x[i] + dy[i]);
    squares += static_cast<double>(x[i]) * x[i];
  }
  EXPECT_NEAR(sum_of_squares(x.data(), count), squares, 1e-12 * squares);
}

TEST_P(Elements, AreTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("gelu, sum of squares", [&] {
    Floats result(x.size());
    gelu_backward(result.data(), nullptr, dy.data(), x.data(), count);
    const double sum = sum_of_squares(x.data(), count);
    result.push_back(static_cast<float>(sum));
    result.push_back(static_cast<float>(sum - static_cast<float>(sum)));
    return result;
  });
}

INSTANTIATE_TEST_SUITE_P(Counts, Elements, testing::Values(1, 7, 16, 1003, 100003));

TEST(Gelu, KeepsNanAndInfinity) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Floats x{std::numeric_limits<float>::quiet_NaN(), kInfinity, 20.0F, -20.0F};
  Floats y(4);
  gelu_forward(y.data(), x.data(), 4);
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], kInfinity);
  EXPECT_EQ(y[2], 20.0F);
  EXPECT_EQ(y[3], 0.0F);
}

struct Shape {
  std::int64_t rows, dim;
};

class Rows : public testing::TestWithParam<Shape> {
 protected:
  const std::int64_t rows = GetParam().rows, dim = GetParam().dim;
  Floats x = test::random_values("x", rows* dim, 4.0F);
};

TEST_P(Rows, SumsOverRowsMatchTheReference) {
  const Floats bias = test::random_values("bias", dim);
  Floats y = x;
  add_to_rows(y.data(), bias.data(), rows, dim);
  Doubles sums(bias.begin(), bias.end());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t column = i % bias.size();
    ASSERT_EQ(y[i], x[i] + bias[column]);
    sums[column] += x[i];
  }
  Floats total = bias;
  add_row_sum(total.data(), x.data(), rows, dim);
  test::expect_close(total, sums, 1e-5, "row sum");
}

TEST_P(Rows, AreTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("row sum", [&] {
    Floats sums(reference::size(dim));
    add_row_sum(sums.data(), x.data(), rows, dim);
    return sums;
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, Rows,
                         testing::Values(Shape{1, 1}, Shape{5, 3}, Shape{64, 64}, Shape{33, 1001},
                                         Shape{5003, 17}),
                         [](const auto& test_info) {
                           return std::to_string(test_info.param.rows) + "x" +
                                  std::to_string(test_info.param.dim);
                         });

}  // namespace
}  // namespace trib::ops
