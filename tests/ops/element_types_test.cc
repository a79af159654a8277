// Elementwise kernels for bfloat16, compared with the same in float32; AdamW.
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/bfloat16.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/adamw.h"
#include "ops/kernels/layer_norm.h"
#include "ops/kernels/loss.h"
#include "ops/kernels/vector/gelu.h"
#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/allocation_count.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;
using test::Halves;
using test::rounded;
using test::widened;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Half a unit in the last place of 8 bits.
constexpr double kHalfUnit = 0x1p-8;

class BfElements : public testing::TestWithParam<std::int64_t> {
 protected:
  const std::int64_t count = GetParam();
  const Halves x = rounded(test::random_values("x", count, 3.0F));
  const Halves dy = rounded(test::random_values("dy", count));
  const Floats x_float = widened(x), dy_float = widened(dy);
};

TEST_P(BfElements, GeluIsThatOfFloatsRounded) {
  Halves y(x.size()), dx(x.size()), activated(x.size());
  gelu_forward(y.data(), x.data(), count);
  gelu_backward(dx.data(), activated.data(), dy.data(), x.data(), count);
  const Doubles expected = reference::gelu(x_float.data(), count);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double value = x_float[i], cdf = 0.5 * std::erfc(-value * std::sqrt(0.5));
    const double slope =
        cdf + value * std::exp(-0.5 * value * value) / std::sqrt(2 * std::numbers::pi);
    // Beyond rounding, 1e-4 of the unit step that GELU smooths.
    ASSERT_NEAR(static_cast<float>(y[i]), expected[i],
                kHalfUnit * std::abs(expected[i]) + 1e-4 * std::abs(value))
        << value;
    ASSERT_NEAR(static_cast<float>(activated[i]), static_cast<float>(y[i]), 0) << value;
    ASSERT_NEAR(static_cast<float>(dx[i]), dy_float[i] * slope,
                std::abs(dy_float[i]) * (kHalfUnit * std::abs(slope) + 1e-4))
        << value;
  }
  Halves in_place_dx = dy, in_place_x = x;
  gelu_backward(in_place_dx.data(), in_place_x.data(), in_place_dx.data(), in_place_x.data(),
                count);
  EXPECT_EQ(widened(in_place_dx), widened(dx));
  EXPECT_EQ(widened(in_place_x), widened(activated));
  Halves alone(x.size());
  gelu_backward(alone.data(), nullptr, dy.data(), x.data(), count);
  EXPECT_EQ(widened(alone), widened(dx));
}

TEST_P(BfElements, ConversionsRoundToNearest) {
  Floats values = test::random_values("values", count, 1e3F);
  const Floats special{kNan, kInfinity, -kInfinity, 0.0F, -0.0F, 3.4e38F, 0x1.01p0F, 0x1.03p0F};
  for (std::size_t i = 0; i < std::min(values.size(), special.size()); ++i) values[i] = special[i];
  Halves low(values.size());
  convert(low.data(), values.data(), count);
  Floats back(values.size());
  convert(back.data(), low.data(), count);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const BFloat16 expected(values[i]);
    if (std::isnan(values[i])) {
      ASSERT_TRUE(std::isnan(back[i]));
    } else {
      ASSERT_EQ(low[i].bits, expected.bits) << values[i];
      ASSERT_EQ(back[i], static_cast<float>(expected));
    }
  }
  Halves copy(low.size());
  convert(copy.data(), low.data(), count);
  EXPECT_EQ(std::memcmp(copy.data(), low.data(), low.size() * sizeof(BFloat16)), 0);
}

TEST_P(BfElements, Sums) {
  Floats sum = test::random_values("sum", count);
  const Floats before = sum;
  add(sum.data(), x.data(), count);
  for (std::size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], before[i] + x_float[i]);
  for (const std::int64_t rows : {1, 9, 50}) {
    const Halves matrix = rounded(test::random_values("matrix", rows * count));
    const Floats bias = test::random_values("bias", count);
    Halves y = matrix;
    add_to_rows(y.data(), bias.data(), rows, count);
    Doubles total(bias.begin(), bias.end());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t column = i % bias.size();
      ASSERT_EQ(y[i].bits, BFloat16(static_cast<float>(matrix[i]) + bias[column]).bits);
      total[column] += static_cast<float>(matrix[i]);
    }
    Floats sums = bias;
    add_row_sum(sums.data(), matrix.data(), rows, count);
    test::expect_close(sums, total, 1e-6, "row sum");
  }
}

TEST_P(BfElements, AreTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("bfloat16 elements", [&] {
    Halves dx(x.size()), activated(x.size());
    gelu_backward(dx.data(), activated.data(), dy.data(), x.data(), count);
    Floats sums(reference::size(count / 100 + 1));
    add_row_sum(sums.data(), x.data(), 100, count / 100);
    Floats all = widened(dx);
    for (const Floats& part : {widened(activated), sums}) {
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  });
}

INSTANTIATE_TEST_SUITE_P(Counts, BfElements, testing::Values(1, 7, 16, 33, 1003, 100003));

TEST(Streamed, ResultsAreThoseOfShortRanges) {
  constexpr std::int64_t kCount = (9 << 20) + 5;
  const Floats x = test::random_values("x", 1 << 12, 2.0F);
  Floats from(kCount + 16), to(kCount + 16);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = x[i % x.size()];
  const auto aligned = [](Floats& memory) {
    void* start = memory.data();
    std::size_t space = memory.size() * sizeof(float);
    return static_cast<float*>(std::align(64, 1, start, space));
  };
  float *const in = aligned(from), *const out = aligned(to);
  gelu_forward(out, in, kCount);
  Floats expected(1000);
  for (const std::int64_t at : {std::int64_t{0}, std::int64_t{5000017}, kCount - 1000}) {
    gelu_range(expected.data(), in + at, 1000);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(out[at + static_cast<std::int64_t>(i)], expected[i]) << i;
    }
  }
}

TEST(GeluEdges, OfBfloat16) {
  const Halves x = rounded({kNan, kInfinity, 20.0F, -20.0F, -1e30F, 0.0F});
  Halves y(x.size()), dx(x.size());
  const Halves one = rounded(Floats(x.size(), 1.0F));
  gelu_backward(dx.data(), y.data(), one.data(), x.data(), 6);
  EXPECT_TRUE(std::isnan(static_cast<float>(y[0])));
  EXPECT_TRUE(std::isnan(static_cast<float>(dx[0])));
  EXPECT_EQ(widened({y.begin() + 1, y.end()}), (Floats{kInfinity, 20.0F, 0.0F, 0.0F, 0.0F}));
  EXPECT_EQ(widened({dx.begin() + 1, dx.end()}), (Floats{1.0F, 1.0F, 0.0F, 0.0F, 0.5F}));
}

struct AdamW {
  explicit AdamW(std::int64_t count)
      : value(test::random_values("value", count)),
        exp_avg(test::random_values("exp_avg", count)),
        exp_avg_sq(test::random_values("exp_avg_sq", count)),
        gradient(test::random_values("gradient", count)),
        bf16(value.size()) {
    for (float& v : exp_avg_sq) v = std::abs(v);
  }
  AdamWPiece piece(std::int64_t begin, std::int64_t end, float keep) {
    return {.value = value.data() + begin,
            .exp_avg = exp_avg.data() + begin,
            .exp_avg_sq = exp_avg_sq.data() + begin,
            .gradient = gradient.data() + begin,
            .count = end - begin,
            .keep = keep,
            .bf16 = bf16.data() + begin};
  }
  Floats value, exp_avg, exp_avg_sq, gradient;
  Halves bf16;
};
constexpr AdamWFactors kFactors{.beta1 = 0.9F,
                                .beta2 = 0.95F,
                                .eps = 1e-8F,
                                .gradient_scale = 0.7F,
                                .rate = 1e-2F,
                                .root_correction2 = 0.8F};

void update(const AdamWPiece& piece) {
  adamw_update({&piece, 1}, kFactors);
}

TEST(AdamWUpdate, MatchesItsFormula) {
  for (const std::int64_t count : {1, 15, 16, 17, 1003, 100003}) {
    AdamW state(count);
    const AdamW before(count);
    update(state.piece(0, count, 0.99F));
    for (std::size_t i = 0; i < state.value.size(); ++i) {
      const double g = 0.7F * static_cast<double>(before.gradient[i]);
      const double m = 0.9 * before.exp_avg[i] + 0.1 * g;
      const double v = 0.95 * before.exp_avg_sq[i] + 0.05 * g * g;
      const double value = 0.99 * before.value[i] - 1e-2 * m / (std::sqrt(v) / 0.8 + 1e-8);
      ASSERT_NEAR(state.exp_avg[i], m, 1e-6);
      ASSERT_NEAR(state.exp_avg_sq[i], v, 1e-6);
      ASSERT_NEAR(state.value[i], value, 2e-6 * (1 + std::abs(m) / std::sqrt(v)));
      ASSERT_EQ(state.bf16[i].bits, BFloat16(state.value[i]).bits);
    }
  }
}

TEST(AdamWUpdate, OfPiecesIsThatOfEachAlone) {
  constexpr std::int64_t kCount = 100003;
  AdamW together(kCount), apart(kCount);
  const std::vector<std::int64_t> cuts{0, 1, 1, 18, 300, 40000, 40007, 99000, kCount};
  std::vector<AdamWPiece> pieces;
  for (std::size_t i = 1; i < cuts.size(); ++i) {
    const float keep = i % 2 == 0 ? 1.0F : 0.5F;
    pieces.push_back(together.piece(cuts[i - 1], cuts[i], keep));
    AdamWPiece own = apart.piece(cuts[i - 1], cuts[i], keep);
    if (i == 3) pieces.back().bf16 = own.bf16 = nullptr;
    update(own);
  }
  adamw_update(pieces, kFactors);
  EXPECT_EQ(together.value, apart.value);
  EXPECT_EQ(together.exp_avg, apart.exp_avg);
  EXPECT_EQ(together.exp_avg_sq, apart.exp_avg_sq);
  EXPECT_EQ(widened(together.bf16), widened(apart.bf16));
  test::expect_same_on_any_threads("adamw", [&] {
    AdamW state(kCount);
    update(state.piece(0, kCount, 0.99F));
    return state.value;
  });
}

TEST(MemoryKernels, AllocateNothingOnceTheyHaveRun) {
  constexpr std::int64_t kRows = 300, kDim = 129, kCount = kRows * kDim;
  AdamW state(kCount);
  Floats x = test::random_values("x", kCount), y(x.size()), rstd(kRows), weight(kDim, 1.0F);
  Floats d_weight(kDim), d_bias(kDim);
  Halves low(x.size());
  double sum = 0;
  const auto all = [&] {
    const AdamWPiece pieces[] = {state.piece(0, 7, 1.0F), state.piece(7, kCount, 0.9F)};
    adamw_update(pieces, kFactors);
    layer_norm_forward(low.data(), low.data(), rstd.data(), x.data(), y.data(), weight.data(),
                       weight.data(), kRows, kDim, 1e-5F);
    layer_norm_backward(y.data(), d_weight.data(), d_bias.data(), ConstFloatPtr(low.data()),
                        ConstFloatPtr(low.data()), weight.data(), rstd.data(), kRows, kDim, true);
    gelu_backward(low.data(), low.data(), low.data(), low.data(), kCount);
    add_row_sum(d_bias.data(), low.data(), kRows, kDim);
    sum += sum_of_squares(x.data(), kCount) + mse_forward(x.data(), y.data(), kCount) +
           weighted_mse_forward(x.data(), y.data(), rstd.data(), 1, kRows, kDim);
    weighted_mse_backward(y.data(), x.data(), x.data(), rstd.data(), 1, kRows, kDim, 1);
  };
  tbb::task_arena(1).execute([&] {
    all();
    const std::int64_t before = test::allocation_count();
    for (int i = 0; i < 10; ++i) all();
    EXPECT_EQ(test::allocation_count(), before);
  });
}

}  // namespace
}  // namespace trib::ops
