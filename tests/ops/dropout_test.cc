#include "ops/kernels/dropout.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/ops/kernel_testing.h"

namespace trib::ops {
namespace {

using test::Floats;

SampleDropout sample(std::uint64_t key, float scale = 1) {
  return {RandomStream(7, "place").substream(key), scale};
}

// Samples of `tokens` rows each, whole.
Floats dropped(const Floats& x, std::int64_t tokens, std::int64_t dim, double rate,
               const std::vector<SampleDropout>& samples) {
  Floats y(x.size(), -1.0F);
  dropout(y.data(), x.data(), 0, std::ssize(samples) * tokens, tokens, dim, rate, samples);
  return y;
}

Floats ones(std::int64_t count) {
  return Floats(static_cast<std::size_t>(count), 1.0F);
}

// Odd widths too: less than a draw, a draw, and one and a part.
class DropoutWidths : public testing::TestWithParam<std::int64_t> {
 protected:
  const std::int64_t dim = GetParam(), tokens = 5;
  const std::vector<SampleDropout> samples{sample(3), sample(9, 2.0F), sample(4)};
  const Floats x = test::random_values("x", 3 * tokens * dim);
};
INSTANTIATE_TEST_SUITE_P(Widths, DropoutWidths, testing::Values(1, 12, 32, 75, 128));

TEST_P(DropoutWidths, KeepsWhatTheWordsSay) {
  constexpr double kRate = 0.3;
  const Floats y = dropped(x, tokens, dim, kRate, samples);
  for (std::int64_t i = 0; i < std::ssize(x); ++i) {
    const std::int64_t row = i / dim, column = i % dim;
    const SampleDropout& own = samples[static_cast<std::size_t>(row / tokens)];
    // Columns 0 .. 7 have the first words of eight indices, columns 8 .. 15 their second ones.
    RandomStream::Words words;
    own.stream.words(words, static_cast<std::uint64_t>(row % tokens) << 32 |
                                static_cast<std::uint64_t>(column / 32 * 8));
    const auto within = static_cast<std::size_t>(column % 32);
    const bool is_kept = words[within / 8][within % 8] >= kRate * 0x1p32;
    const auto at = static_cast<std::size_t>(i);
    ASSERT_FLOAT_EQ(y[at], is_kept ? x[at] * own.scale / 0.7F : 0.0F) << i;
  }
}

TEST_P(DropoutWidths, ARowIsTheSameInAnyRange) {
  const Floats whole = dropped(x, tokens, dim, 0.4, samples);
  for (const std::int64_t begin : {0, 3, 7, 14}) {
    for (std::int64_t end = begin; end <= 3 * tokens; ++end) {
      Floats part(static_cast<std::size_t>((end - begin) * dim));
      dropout(part.data(), x.data() + begin * dim, begin, end, tokens, dim, 0.4, samples);
      ASSERT_EQ(part, Floats(whole.begin() + begin * dim, whole.begin() + end * dim));
    }
  }
}

TEST_P(DropoutWidths, InPlaceIsTheSame) {
  Floats y = x;
  dropout(y.data(), y.data(), 0, 3 * tokens, tokens, dim, 0.4, samples);
  EXPECT_EQ(y, dropped(x, tokens, dim, 0.4, samples));
}

TEST(Dropout, KeepsTheFractionAndTheExpectedValue) {
  constexpr std::int64_t kTokens = 100, kDim = 96;
  const std::vector<SampleDropout> samples{sample(1), sample(2)};
  const auto count = static_cast<double>(2 * kTokens * kDim);
  for (const double rate : {0.001, 0.1, 0.5, 0.75, 0.99}) {
    const Floats y = dropped(ones(2 * kTokens * kDim), kTokens, kDim, rate, samples);
    const auto kept =
        static_cast<double>(y.size()) - static_cast<double>(std::count(y.begin(), y.end(), 0.0F));
    EXPECT_NEAR(kept, count * (1 - rate), 5 * std::sqrt(count * rate * (1 - rate))) << rate;
    for (const float value : y) {
      const auto scaled = static_cast<float>(1 / (1 - rate));
      ASSERT_TRUE(value == 0 || value == scaled) << value;
    }
  }
}

TEST(Dropout, RowsColumnsAndSamplesAreIndependent) {
  constexpr std::int64_t kTokens = 64, kDim = 64;
  const std::int64_t size = kTokens * kDim;
  const Floats y = dropped(ones(2 * size), kTokens, kDim, 0.5, {sample(1), sample(2)});
  // How often an element agrees with the one `apart` after it: half of the times.
  for (const std::int64_t apart : {1L, 8L, 32L, kDim, kDim + 1, 2 * kDim, size}) {
    std::int64_t agreeing = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      agreeing += y[static_cast<std::size_t>(i)] == y[static_cast<std::size_t>(i + apart)] ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(agreeing), static_cast<double>(size) / 2,
                5 * std::sqrt(static_cast<double>(size)) / 2)
        << apart;
  }
}

TEST(Dropout, ASampleIsTheSameInAnyBatch) {
  constexpr std::int64_t kTokens = 6, kDim = 40, kSize = kTokens * kDim;
  const Floats x = test::random_values("x", kSize);
  Floats twice = x;
  twice.insert(twice.end(), x.begin(), x.end());
  const Floats there = dropped(twice, kTokens, kDim, 0.5, {sample(1), sample(2)});
  const Floats back = dropped(twice, kTokens, kDim, 0.5, {sample(2), sample(1)});
  EXPECT_EQ(Floats(there.begin(), there.begin() + kSize),
            dropped(x, kTokens, kDim, 0.5, {sample(1)}));
  EXPECT_EQ(Floats(there.begin(), there.begin() + kSize), Floats(back.begin() + kSize, back.end()));
  EXPECT_EQ(Floats(there.begin() + kSize, there.end()), Floats(back.begin(), back.begin() + kSize));
  EXPECT_NE(Floats(there.begin(), there.begin() + kSize),
            Floats(there.begin() + kSize, there.end()));
}

// y is linear in x, so its gradient is the same map: sum(dy * y(x)) = sum(dx * x) for every x.
TEST(Dropout, TheSameCallOnGradientsIsTheBackward) {
  constexpr std::int64_t kTokens = 7, kDim = 50, kCount = 2 * kTokens * kDim;
  const std::vector<SampleDropout> samples{sample(1, 1.25F), sample(2)};
  const Floats x = test::random_values("x", kCount), dy = test::random_values("dy", kCount);
  const Floats y = dropped(x, kTokens, kDim, 0.3, samples);
  const Floats dx = dropped(dy, kTokens, kDim, 0.3, samples);
  double forward = 0, backward = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(y[i] == 0, dx[i] == 0) << i;
    forward += static_cast<double>(dy[i]) * y[i];
    backward += static_cast<double>(dx[i]) * x[i];
  }
  EXPECT_NEAR(forward, backward, 1e-4);
}

TEST(Dropout, ScalesAndDropsWholeSamples) {
  constexpr std::int64_t kTokens = 3, kDim = 33;
  Floats x = ones(3 * kTokens * kDim);
  x[0] = std::numeric_limits<float>::quiet_NaN();
  const Floats y = dropped(x, kTokens, kDim, 0, {sample(1, 0), sample(2, 2.5F), sample(3)});
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::array<float, 3> expected{0.0F, 2.5F, 1.0F};
    ASSERT_EQ(y[i], expected[i / (kTokens * kDim)]) << i;
  }
}

TEST(Dropout, TakesRowsOfNoElements) {
  dropout(nullptr, nullptr, 0, 0, 4, 8, 0.5, {});
  const std::vector<SampleDropout> samples{sample(1)};
  dropout(nullptr, nullptr, 0, 4, 4, 0, 0.5, samples);
}

TEST(Dropout, IsTheSameOnAnyNumberOfThreads) {
  constexpr std::int64_t kTokens = 301, kDim = 77;
  const Floats x = test::random_values("x", 2 * kTokens * kDim);
  test::expect_same_on_any_threads("dropout", [&] {
    return dropped(x, kTokens, kDim, 0.2, {sample(1), sample(2)});
  });
}

}  // namespace
}  // namespace trib::ops
