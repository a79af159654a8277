// Layer norm on a residual stream, its second half alone and its backward, for float32 and
// bfloat16.
#include "ops/kernels/layer_norm.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/bfloat16.h"
#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;
constexpr float kEps = 1e-5F;

template <class T>
std::vector<T> stored(const Floats& values) {
  return {values.begin(), values.end()};
}
template <>
std::vector<BFloat16> stored(const Floats& values) {
  std::vector<BFloat16> result;
  for (const float value : values) result.push_back(BFloat16(value));
  return result;
}
template <class T>
Floats widened(const std::vector<T>& values) {
  Floats result;
  for (const T value : values) result.push_back(static_cast<float>(value));
  return result;
}

struct Shape {
  std::int64_t rows, dim;
};
constexpr Shape kShapes[] = {{1, 1}, {2, 3}, {7, 64}, {1000, 129}, {257, 384}, {6, 65}, {33, 1001}};

// What the rounding of a stored result and of what it was computed from may do: x_hat and y are
// rounded to 8 bits each, half a unit in the last place 2^-9 of at most twice the number.
template <class T>
constexpr double kTolerance = std::is_same_v<T, float> ? 2e-6 : 0x1p-7;

template <class T>
class LayerNorm : public testing::Test {
 protected:
  struct Case {
    explicit Case(Shape shape)
        : rows(shape.rows),
          dim(shape.dim),
          x(test::random_values("x", rows * dim)),
          branch(stored<T>(test::random_values("branch", rows * dim))),
          weight(test::random_values("weight", dim)),
          bias(test::random_values("bias", dim)),
          dy(stored<T>(test::random_values("dy", rows * dim))),
          y(x.size()),
          x_hat(x.size()),
          rstd(reference::size(rows)) {
      for (float& value : x) value += 3.0F;  // a mean that must be taken away
      sum = x;
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<float>(branch[i]);
    }
    void forward() {
      layer_norm_forward(y.data(), x_hat.data(), rstd.data(), x.data(), branch.data(),
                         weight.data(), bias.data(), rows, dim, kEps);
    }
    Doubles expected() const {
      return reference::layer_norm(sum.data(), weight.data(), bias.data(), rows, dim, kEps);
    }

    std::int64_t rows, dim;
    Floats x, sum;  // sum: of x and branch
    std::vector<T> branch;
    Floats weight, bias;
    std::vector<T> dy, y, x_hat;
    Floats rstd;
  };
};

using Types = testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(LayerNorm, Types);

TYPED_TEST(LayerNorm, ForwardMatchesTheReference) {
  for (const Shape shape : kShapes) {
    typename TestFixture::Case c(shape);
    c.forward();
    EXPECT_EQ(c.x, c.sum);
    test::expect_close(widened(c.y), c.expected(), kTolerance<TypeParam>, "y");
    const Floats ones(c.weight.size(), 1.0F), zeros(c.weight.size());
    test::expect_close(
        widened(c.x_hat),
        reference::layer_norm(c.sum.data(), ones.data(), zeros.data(), c.rows, c.dim, kEps),
        kTolerance<TypeParam>, "x_hat");
  }
}

TYPED_TEST(LayerNorm, TheSecondHalfGivesTheSameBits) {
  for (const Shape shape : kShapes) {
    typename TestFixture::Case c(shape);
    c.forward();
    std::vector<TypeParam> again(c.y.size());
    layer_norm_affine(again.data(), c.x_hat.data(), c.weight.data(), c.bias.data(), c.rows, c.dim);
    EXPECT_EQ(widened(again), widened(c.y));
  }
}

TYPED_TEST(LayerNorm, NeedsNoBranchAndMayKeepNothing) {
  for (const Shape shape : kShapes) {
    typename TestFixture::Case c(shape), bare(shape);
    c.forward();
    bare.x = c.sum;
    layer_norm_forward(bare.y.data(), nullptr, nullptr, bare.x.data(), nullptr, bare.weight.data(),
                       bare.bias.data(), bare.rows, bare.dim, kEps);
    EXPECT_EQ(widened(bare.y), widened(c.y));
    EXPECT_EQ(bare.x, c.sum);
  }
}

TYPED_TEST(LayerNorm, BackwardIsTheGradient) {
  // Rounding x_hat moves the gradient of a bfloat16 row by as much as its elements.
  const bool is_float = std::is_same_v<TypeParam, float>;
  for (const Shape shape : {Shape{7, 64}, Shape{33, 129}, Shape{6, 65}}) {
    typename TestFixture::Case c(shape);
    c.forward();
    Floats dx(c.x.size(), 1.0F), d_weight(c.weight.size(), 2.0F), d_bias(d_weight);
    layer_norm_backward(dx.data(), d_weight.data(), d_bias.data(), c.dy.data(), c.x_hat.data(),
                        c.weight.data(), c.rstd.data(), c.rows, c.dim, true);
    for (float& value : dx) value -= 1.0F;
    for (float& value : d_weight) value -= 2.0F;
    for (float& value : d_bias) value -= 2.0F;
    const Floats dy = widened(c.dy);
    const auto loss = [&] { return test::weighted_sum(c.expected(), dy); };
    test::check_gradient("x", c.sum, dx, loss,
                         {.step = 1e-3, .tolerance = is_float ? 2e-3 : 2e-2, .max_elements = 24});
    const test::GradientCheck check{.tolerance = is_float ? 1e-3 : 1e-2, .max_elements = 24};
    test::check_gradient("weight", c.weight, d_weight, loss, check);
    test::check_gradient("bias", c.bias, d_bias, loss, check);
  }
}

TYPED_TEST(LayerNorm, BackwardMatchesItsFormula) {
  for (const Shape shape : kShapes) {
    typename TestFixture::Case c(shape);
    c.forward();
    Floats dx(c.x.size(), std::numeric_limits<float>::quiet_NaN());  // written, not added to
    Floats d_weight(c.weight.size()), d_bias(d_weight);
    layer_norm_backward(dx.data(), d_weight.data(), d_bias.data(), c.dy.data(), c.x_hat.data(),
                        c.weight.data(), c.rstd.data(), c.rows, c.dim, false);
    Doubles expected(dx.size()), expected_weight(d_weight.size()), expected_bias(d_bias.size());
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const auto at = [&](const std::vector<TypeParam>& values, std::int64_t i) -> double {
        return static_cast<float>(values[reference::size(r * c.dim + i)]);
      };
      double mean_g = 0, mean_gx = 0;
      for (std::int64_t i = 0; i < c.dim; ++i) {
        const double g = at(c.dy, i) * c.weight[reference::size(i)] / static_cast<double>(c.dim);
        mean_g += g;
        mean_gx += g * at(c.x_hat, i);
        expected_weight[reference::size(i)] += at(c.dy, i) * at(c.x_hat, i);
        expected_bias[reference::size(i)] += at(c.dy, i);
      }
      for (std::int64_t i = 0; i < c.dim; ++i) {
        expected[reference::size(r * c.dim + i)] =
            c.rstd[reference::size(r)] *
            (at(c.dy, i) * c.weight[reference::size(i)] - mean_g - at(c.x_hat, i) * mean_gx);
      }
    }
    if (shape.dim > 1) test::expect_close(dx, expected, 2e-6, "dx");
    test::expect_close(d_weight, expected_weight, 2e-6, "d_weight");
    test::expect_close(d_bias, expected_bias, 2e-6, "d_bias");
  }
}

TYPED_TEST(LayerNorm, IsTheSameOnAnyNumberOfThreads) {
  for (const Shape shape : {Shape{1000, 129}, Shape{257, 384}}) {
    test::expect_same_on_any_threads("residual layer norm", [&] {
      typename TestFixture::Case c(shape);
      c.forward();
      Floats dx(c.x.size()), d_weight(c.weight.size()), d_bias(d_weight);
      layer_norm_backward(dx.data(), d_weight.data(), d_bias.data(), c.dy.data(), c.x_hat.data(),
                          c.weight.data(), c.rstd.data(), c.rows, c.dim, true);
      Floats all = widened(c.y);
      for (const Floats& part : {widened(c.x_hat), c.x, c.rstd, dx, d_weight, d_bias}) {
        all.insert(all.end(), part.begin(), part.end());
      }
      return all;
    });
  }
}

TYPED_TEST(LayerNorm, ResultsPastTheCachesAreTheSame) {
  // Large enough to be streamed; compared with rows on their own.
  const Shape shape{9000, 512};
  typename TestFixture::Case c(shape);
  std::vector<TypeParam> y(c.y.size() + 64), x_hat(y.size());
  const auto aligned = [](std::vector<TypeParam>& memory) {
    void* start = memory.data();
    std::size_t space = memory.size() * sizeof(TypeParam);
    return static_cast<TypeParam*>(std::align(64, 1, start, space));
  };
  TypeParam *const y_rd = aligned(y), *const x_hat_rd = aligned(x_hat);
  layer_norm_forward(y_rd, x_hat_rd, c.rstd.data(), c.x.data(), c.branch.data(), c.weight.data(),
                     c.bias.data(), c.rows, c.dim, kEps);
  for (const std::int64_t r : {0, 1, 4567, 8999}) {
    typename TestFixture::Case row({1, shape.dim});
    std::copy_n(c.sum.begin() + r * c.dim, c.dim, row.x.begin());
    layer_norm_forward(row.y.data(), row.x_hat.data(), row.rstd.data(), row.x.data(), nullptr,
                       c.weight.data(), c.bias.data(), 1, c.dim, kEps);
    EXPECT_EQ(row.rstd[0], c.rstd[reference::size(r)]);
    for (std::int64_t i = 0; i < c.dim; ++i) {
      const float expected = static_cast<float>(row.y[reference::size(i)]);
      ASSERT_EQ(static_cast<float>(y_rd[r * c.dim + i]), expected);
      ASSERT_EQ(static_cast<float>(x_hat_rd[r * c.dim + i]),
                static_cast<float>(row.x_hat[reference::size(i)]));
    }
  }
}

TEST(LayerNormEdges, TheRowsMayBeNone) {
  const Floats weight{1, 1};
  Floats d_weight{5, 6}, d_bias{7, 8};
  layer_norm_forward(nullptr, nullptr, nullptr, nullptr, nullptr, weight.data(), weight.data(), 0,
                     2, kEps);
  layer_norm_backward(nullptr, d_weight.data(), d_bias.data(), ConstFloatPtr(nullptr),
                      ConstFloatPtr(nullptr), weight.data(), nullptr, 0, 2, true);
  EXPECT_EQ(d_weight, (Floats{5, 6}));
  EXPECT_EQ(d_bias, (Floats{7, 8}));
}

TEST(LayerNormEdges, NanStaysInItsRow) {
  Floats x{1, std::numeric_limits<float>::quiet_NaN(), 2, 1, 2, 4}, y(6), x_hat(6), rstd(2);
  const Floats one{1, 1, 1};
  layer_norm_forward(y.data(), x_hat.data(), rstd.data(), x.data(), nullptr, one.data(), one.data(),
                     2, 3, kEps);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(y[reference::size(i)]));
  for (int i = 3; i < 6; ++i) EXPECT_FALSE(std::isnan(y[reference::size(i)]));
}

}  // namespace
}  // namespace trib::ops
