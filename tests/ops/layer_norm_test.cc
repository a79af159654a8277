#include "ops/kernels/layer_norm.h"

#include <gtest/gtest.h>

#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Floats;
constexpr float kEps = 1e-5F;

struct Shape {
  std::int64_t rows, dim;
};

class LayerNorm : public testing::TestWithParam<Shape> {
 protected:
  LayerNorm() {
    for (float& value : x) value += 3.0F;  // a mean that must be taken away
    layer_norm_forward(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), bias.data(),
                       rows, dim, kEps);
  }
  void backward(Floats& dx, Floats& dweight, Floats& dbias, bool accumulate = false) {
    layer_norm_backward(dx.data(), dweight.data(), dbias.data(), dy.data(), x.data(), weight.data(),
                        mean.data(), rstd.data(), rows, dim, accumulate);
  }

  const std::int64_t rows = GetParam().rows, dim = GetParam().dim;
  Floats x = test::random_values("x", rows* dim);
  Floats weight = test::random_values("weight", dim);
  Floats bias = test::random_values("bias", dim);
  Floats dy = test::random_values("dy", rows* dim);
  Floats y = Floats(x.size()), mean = Floats(reference::size(rows)), rstd = mean;
};

TEST_P(LayerNorm, ForwardMatchesTheReference) {
  test::expect_close(
      y, reference::layer_norm(x.data(), weight.data(), bias.data(), rows, dim, kEps), 2e-6, "y");
}

TEST_P(LayerNorm, BackwardIsTheGradient) {
  Floats dx(x.size()), dweight(weight.size()), dbias(bias.size());
  backward(dx, dweight, dbias);
  const auto loss = [&] {
    return test::weighted_sum(
        reference::layer_norm(x.data(), weight.data(), bias.data(), rows, dim, kEps), dy);
  };
  if (dim > 1) {  // the gradient of a row of one is zero but for rounding
    test::check_gradient("x", x, dx, loss, {.step = 1e-3, .tolerance = 2e-3, .max_elements = 24});
  }
  const test::GradientCheck check{.tolerance = 1e-3, .max_elements = 24};
  test::check_gradient("weight", weight, dweight, loss, check);
  test::check_gradient("bias", bias, dbias, loss, check);
}

TEST_P(LayerNorm, BackwardAccumulatesAndMayOverwriteItsInput) {
  Floats dx(x.size()), dweight(weight.size()), dbias(bias.size());
  backward(dx, dweight, dbias);
  Floats dx_added(x.size(), 1.0F), dweight_added(weight.size(), 2.0F), dbias_added = dweight_added;
  backward(dx_added, dweight_added, dbias_added, true);
  for (std::size_t i = 0; i < dx.size(); ++i) ASSERT_NEAR(dx_added[i], dx[i] + 1.0F, 1e-6);
  for (std::size_t i = 0; i < dbias.size(); ++i) {
    ASSERT_FLOAT_EQ(dweight_added[i], dweight[i] + 2.0F);
    ASSERT_FLOAT_EQ(dbias_added[i], dbias[i] + 2.0F);
  }
  layer_norm_backward(dy.data(), dweight.data(), dbias.data(), dy.data(), x.data(), weight.data(),
                      mean.data(), rstd.data(), rows, dim);
  EXPECT_EQ(dy, dx);
}

TEST_P(LayerNorm, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("layer_norm", [&] {
    Floats out(x.size()), dx(x.size()), dweight(weight.size()), dbias(bias.size());
    layer_norm_forward(out.data(), mean.data(), rstd.data(), x.data(), weight.data(), bias.data(),
                       rows, dim, kEps);
    backward(dx, dweight, dbias);
    for (const Floats& part : {dx, dweight, dbias}) {
      out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, LayerNorm,
                         testing::Values(Shape{1, 1}, Shape{2, 3}, Shape{7, 64}, Shape{1000, 129},
                                         Shape{257, 384}),
                         [](const auto& test_info) {
                           return std::to_string(test_info.param.rows) + "x" +
                                  std::to_string(test_info.param.dim);
                         });

TEST(LayerNormEdges, TheRowsMayBeNone) {
  const Floats weight{1, 1};
  Floats dweight{5, 6}, dbias{7, 8};
  layer_norm_forward(nullptr, nullptr, nullptr, nullptr, weight.data(), weight.data(), 0, 2, kEps);
  layer_norm_backward(nullptr, dweight.data(), dbias.data(), nullptr, nullptr, weight.data(),
                      nullptr, nullptr, 0, 2);
  EXPECT_EQ(dweight, (Floats{5, 6}));
  EXPECT_EQ(dbias, (Floats{7, 8}));
}

}  // namespace
}  // namespace trib::ops
