#include "ops/kernels/linear.h"

#include <gtest/gtest.h>

#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Floats;

struct Shape {
  std::int64_t rows, in, out;
};

class Linear : public testing::TestWithParam<Shape> {
 protected:
  const std::int64_t rows = GetParam().rows, in = GetParam().in, out = GetParam().out;
  Floats x = test::random_values("x", rows* in);
  Floats w = test::random_values("w", out* in);
  Floats b = test::random_values("b", out);
  Floats dy = test::random_values("dy", rows* out);
};

TEST_P(Linear, ForwardMatchesTheReference) {
  Floats y(dy.size());
  linear_forward(y.data(), x.data(), w.data(), b.data(), rows, in, out);
  test::expect_close(y, reference::linear(x.data(), w.data(), b.data(), rows, in, out), 1e-5, "y");
  linear_forward(y.data(), x.data(), w.data(), nullptr, rows, in, out);
  test::expect_close(y, reference::linear(x.data(), w.data(), nullptr, rows, in, out), 1e-5, "y");
}

TEST_P(Linear, BackwardIsTheGradient) {
  Floats dx(x.size()), dw(w.size()), db(b.size());
  linear_backward(dx.data(), dw.data(), db.data(), dy.data(), x.data(), w.data(), rows, in, out);
  const auto loss = [&] {
    return test::weighted_sum(reference::linear(x.data(), w.data(), b.data(), rows, in, out), dy);
  };
  const test::GradientCheck check{.tolerance = 1e-3, .max_elements = 16};
  test::check_gradient("x", x, dx, loss, check);
  test::check_gradient("w", w, dw, loss, check);
  test::check_gradient("b", b, db, loss, check);
}

TEST_P(Linear, BackwardAddsToWhatIsThere) {
  Floats dx(x.size()), dw(w.size()), db(b.size());
  linear_backward(dx.data(), dw.data(), db.data(), dy.data(), x.data(), w.data(), rows, in, out);
  Floats dx_again(x.size(), 1.0F), dw_again(w.size(), 2.0F), db_again(b.size(), 3.0F);
  linear_backward(dx_again.data(), dw_again.data(), db_again.data(), dy.data(), x.data(), w.data(),
                  rows, in, out, /*accumulate_dx=*/true);
  const auto plus = [](const Floats& values, double offset) {
    test::Doubles sums;
    for (const float value : values) sums.push_back(value + offset);
    return sums;
  };
  test::expect_close(dx_again, plus(dx, 1), 1e-5, "dx");
  test::expect_close(dw_again, plus(dw, 2), 1e-5, "dw");
  test::expect_close(db_again, plus(db, 3), 1e-5, "db");

  Floats dw_alone(w.size());
  linear_backward(nullptr, dw_alone.data(), nullptr, dy.data(), x.data(), w.data(), rows, in, out);
  EXPECT_EQ(dw_alone, dw);
}

TEST_P(Linear, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("linear", [&] {
    Floats y(dy.size()), dx(x.size()), dw(w.size()), db(b.size());
    linear_forward(y.data(), x.data(), w.data(), b.data(), rows, in, out);
    linear_backward(dx.data(), dw.data(), db.data(), dy.data(), x.data(), w.data(), rows, in, out);
    for (const Floats& part : {dx, dw, db}) y.insert(y.end(), part.begin(), part.end());
    return y;
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, Linear,
                         testing::Values(Shape{1, 1, 1}, Shape{3, 5, 7}, Shape{100, 33, 65},
                                         Shape{1031, 128, 63}, Shape{4099, 40, 48}),
                         [](const auto& test_info) {
                           return std::to_string(test_info.param.rows) + "x" +
                                  std::to_string(test_info.param.in) + "x" +
                                  std::to_string(test_info.param.out);
                         });

TEST(LinearEdges, AnyExtentMayBeZero) {
  const Floats b{1, 2, 3}, x{1, 2, 3, 4};
  Floats y(6, 9.0F);
  linear_forward(y.data(), nullptr, nullptr, b.data(), 2, 0, 3);
  EXPECT_EQ(y, (Floats{1, 2, 3, 1, 2, 3}));
  linear_forward(y.data(), nullptr, nullptr, nullptr, 2, 0, 3);
  EXPECT_EQ(y, Floats(6));
  linear_forward(nullptr, x.data(), nullptr, nullptr, 2, 2, 0);
  linear_forward(nullptr, nullptr, x.data(), b.data(), 0, 2, 2);

  Floats dx(4, 9.0F), dw(4, 5.0F), db(3, 7.0F);
  linear_backward(dx.data(), nullptr, nullptr, nullptr, x.data(), nullptr, 2, 2, 0);
  EXPECT_EQ(dx, Floats(4));
  linear_backward(nullptr, dw.data(), db.data(), nullptr, nullptr, x.data(), 0, 2, 2);
  EXPECT_EQ(dw, Floats(4, 5.0F));
  EXPECT_EQ(db, Floats(3, 7.0F));
  linear_backward(dx.data(), nullptr, db.data(), b.data(), nullptr, nullptr, 1, 0, 3);
  EXPECT_EQ(db, (Floats{8, 9, 10}));
}

}  // namespace
}  // namespace trib::ops
