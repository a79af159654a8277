#include "ops/kernels/linear.h"

#include <vector>

#include <gtest/gtest.h>

#include "ops/base/bfloat16.h"
#include "ops/kernels/activation.h"
#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/allocation_count.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;
using test::Halves;
using test::rounded;
using test::widened;

constexpr double kRounded = 0x1.02p-8;

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

TEST_P(Linear, ForwardAddsToWhatIsThere) {
  Floats y = dy;
  linear_forward(y.data(), x.data(), w.data(), b.data(), rows, in, out, /*accumulate_y=*/true);
  Doubles sum = reference::linear(x.data(), w.data(), b.data(), rows, in, out);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += dy[i];
  test::expect_close(y, sum, 1e-5, "y");
}

TEST_P(Linear, GeluIsThatOfTheHidden) {
  Floats hidden(dy.size()), activated(dy.size()), apart(dy.size());
  linear_gelu_forward(activated.data(), hidden.data(), x.data(), w.data(), b.data(), rows, in, out);
  test::expect_close(hidden, reference::linear(x.data(), w.data(), b.data(), rows, in, out), 1e-5,
                     "hidden");
  gelu_forward(apart.data(), hidden.data(), rows * out);
  EXPECT_EQ(activated, apart);
}

// bfloat16 beside the same rounded numbers in double precision. Sums are float32; a result of
// bfloat16 is rounded once, by at most 2^-8 of it.
TEST_P(Linear, Bfloat16MatchesTheReference) {
  const Halves xh = rounded(x), wh = rounded(w), dyh = rounded(dy);
  const Floats xr = widened(xh), wr = widened(wh), dyr = widened(dyh);
  const Doubles expected = reference::linear(xr.data(), wr.data(), b.data(), rows, in, out);
  Halves yh(dy.size()), hidden(dy.size()), activated(dy.size()), apart(dy.size());
  linear_forward(yh.data(), xh.data(), wh.data(), b.data(), rows, in, out);
  test::expect_close(widened(yh), expected, kRounded, "y");
  linear_gelu_forward(activated.data(), hidden.data(), xh.data(), wh.data(), b.data(), rows, in,
                      out);
  EXPECT_EQ(widened(hidden), widened(yh));
  gelu_forward(apart.data(), hidden.data(), rows * out);
  EXPECT_EQ(widened(activated), widened(apart));

  Floats y = dy;  // a stream of residuals
  linear_forward(y.data(), xh.data(), wh.data(), b.data(), rows, in, out, /*accumulate_y=*/true);
  Doubles sum = expected;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += dy[i];
  test::expect_close(y, sum, 1e-5, "y");

  // The gradients, beside those of float32 with the same numbers.
  Floats dx(x.size()), dw(w.size()), db(b.size()), dx_again(x.size()), dw_half(w.size(), 1.0F);
  Floats db_half(b.size(), 2.0F);
  Halves dxh(x.size());
  linear_backward(dx.data(), dw.data(), db.data(), dyr.data(), xr.data(), wr.data(), rows, in, out);
  linear_backward(dxh.data(), dw_half.data(), db_half.data(), dyh.data(), xh.data(), wh.data(),
                  rows, in, out);
  test::expect_close(widened(dxh), Doubles(dx.begin(), dx.end()), kRounded, "dx");
  const auto plus = [](const Floats& values, double offset) {
    Doubles sums;
    for (const float value : values) sums.push_back(value + offset);
    return sums;
  };
  test::expect_close(dw_half, plus(dw, 1), 1e-5, "dw");
  test::expect_close(db_half, plus(db, 2), 1e-5, "db");
  linear_backward(dx_again.data(), dw_half.data(), nullptr, dyh.data(), xh.data(), wh.data(), rows,
                  in, out, /*accumulate_dx=*/true);
  test::expect_close(dx_again, Doubles(dx.begin(), dx.end()), 1e-5, "dx");
}

TEST_P(Linear, Bfloat16IsTheSameOnAnyNumberOfThreads) {
  const Halves xh = rounded(x), wh = rounded(w), dyh = rounded(dy);
  test::expect_same_on_any_threads("linear", [&] {
    Halves y(dy.size()), hidden(dy.size()), dx(x.size());
    Floats dw(w.size()), db(b.size());
    linear_gelu_forward(y.data(), hidden.data(), xh.data(), wh.data(), b.data(), rows, in, out);
    linear_backward(dx.data(), dw.data(), db.data(), dyh.data(), xh.data(), wh.data(), rows, in,
                    out);
    for (const Floats& part : {widened(y), widened(hidden), widened(dx), db}) {
      dw.insert(dw.end(), part.begin(), part.end());
    }
    return dw;
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

TEST(LinearEdges, AllocatesNothingOnceWarm) {
  constexpr std::int64_t kRows = 2304, kIn = 96, kOut = 192;
  const Floats x(kRows * kIn, 0.5F), w(kIn * kOut, 0.5F), b(kOut, 1.0F), dy(kRows * kOut, 0.5F);
  const Halves xh = rounded(x), wh = rounded(w), dyh = rounded(dy);
  Floats y(dy.size()), hidden(dy.size()), dx(x.size()), dw(w.size()), db(b.size());
  Halves yh(dy.size()), hidden_half(dy.size()), dxh(x.size());
  const auto step = [&] {
    linear_gelu_forward(y.data(), hidden.data(), x.data(), w.data(), b.data(), kRows, kIn, kOut);
    linear_backward(dx.data(), dw.data(), db.data(), dy.data(), x.data(), w.data(), kRows, kIn,
                    kOut);
    linear_gelu_forward(yh.data(), hidden_half.data(), xh.data(), wh.data(), b.data(), kRows, kIn,
                        kOut);
    linear_backward(dxh.data(), dw.data(), db.data(), dyh.data(), xh.data(), wh.data(), kRows, kIn,
                    kOut);
  };
  // Alone in its arena, so that it is this thread that has made its room.
  tbb::task_arena(1).execute([&] {
    step();
    const std::int64_t before = test::allocation_count();
    step();
    EXPECT_EQ(test::allocation_count(), before);
  });
}

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
