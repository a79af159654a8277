#include "ops/base/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include <gtest/gtest.h>

namespace trib {
namespace {

using Block = std::array<std::uint32_t, 4>;

TEST(Philox, MatchesTheKnownAnswersOfRandom123) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, SeedsNamesSubstreamsAndIndicesAllDiffer) {
  std::set<std::uint64_t> seen;
  for (const std::uint64_t seed : {0, 1, 7}) {
    for (const char* name : {"", "blocks.0.attn.qkv.weight", "blocks.1.attn.qkv.weight"}) {
      const RandomStream stream(seed, name);
      for (std::uint64_t i = 0; i < 100; ++i) {
        seen.insert(stream.bits(i));
        seen.insert(stream.substream(i).bits(0));
      }
      EXPECT_EQ(stream.bits(5), RandomStream(seed, name).bits(5));
      EXPECT_EQ(stream.substream(3).bits(5), RandomStream(seed, name).substream(3).bits(5));
    }
  }
  EXPECT_EQ(seen.size(), 3U * 3U * 200U);
}

TEST(RandomStream, NumbersStayTheSameFromReleaseToRelease) {
  // Checkpoints resume on these sequences: a change here is a change of every experiment.
  EXPECT_EQ(RandomStream(7, "weight").bits(0), 9384678784628169015ULL);
}

TEST(RandomStream, WordsAreThoseOfSingleDraws) {
  const RandomStream stream(7, "words");
  // Across the place where the lower half of the index overflows.
  for (const std::uint64_t first :
       {std::uint64_t{0}, std::uint64_t{12345}, std::uint64_t{0xFFFFFFFC}}) {
    RandomStream::Words words;
    stream.words(words, first);
    for (std::size_t i = 0; i < RandomStream::kLanes; ++i) {
      const auto join = [&](std::size_t word) {
        return static_cast<std::uint64_t>(words[word + 1][i]) << 32 | words[word][i];
      };
      EXPECT_EQ(stream.bits(first + i), join(0));
      // A normal number takes its radius from the first two words, its angle from the others.
      const double radius =
          std::sqrt(-2 * std::log((static_cast<double>(join(0) >> 11) + 1) * 0x1p-53));
      const double angle = 2 * std::numbers::pi * static_cast<double>(join(2) >> 11) * 0x1p-53;
      EXPECT_FLOAT_EQ(stream.normal(first + i), static_cast<float>(radius * std::cos(angle)));
    }
  }
}

TEST(RandomStream, UniformFillsItsRangeEvenly) {
  const RandomStream stream(1, "uniform");
  constexpr int kCount = 100000;
  std::array<int, 10> counts{};
  for (int i = 0; i < kCount; ++i) {
    const float u = stream.uniform(static_cast<std::uint64_t>(i));
    ASSERT_GE(u, 0.0F);
    ASSERT_LT(u, 1.0F);
    ++counts[static_cast<std::size_t>(u * 10)];
  }
  for (const int count : counts) EXPECT_NEAR(count, kCount / 10, 5 * std::sqrt(kCount * 0.09));
}

TEST(RandomStream, BelowIsEvenAndInRange) {
  const RandomStream stream(1, "below");
  std::array<int, 7> counts{};
  for (std::uint64_t i = 0; i < 70000; ++i) ++counts.at(stream.below(i, 7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 5 * 93);
  EXPECT_EQ(stream.below(0, 1), 0U);
}

TEST(RandomStream, NormalHasTheMomentsOfItsDistribution) {
  const RandomStream stream(1, "normal");
  constexpr int kCount = 200000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = stream.normal(static_cast<std::uint64_t>(i));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  const double error = 1 / std::sqrt(static_cast<double>(kCount));
  EXPECT_NEAR(sum / kCount, 0, 5 * error);
  EXPECT_NEAR(squares / kCount, 1, 5 * std::numbers::sqrt2 * error);
  EXPECT_NEAR(fourth / kCount, 3, 5 * std::sqrt(96.0) * error);
}

TEST(RandomStream, TruncatedNormalFollowsItsDistributionFunction) {
  const RandomStream stream(1, "truncated");
  constexpr int kCount = 100000;
  const auto cdf = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  std::vector<double> draws;
  for (int i = 0; i < kCount; ++i) {
    draws.push_back(stream.truncated_normal(static_cast<std::uint64_t>(i), 0.02F) / 0.02);
  }
  std::sort(draws.begin(), draws.end());
  EXPECT_GE(draws.front(), -2.0001);
  EXPECT_LE(draws.back(), 2.0001);
  // Kolmogorov-Smirnov distance; beyond 2 / sqrt(n) with a probability below 0.001.
  double distance = 0;
  for (int i = 0; i < kCount; ++i) {
    const double expected =
        (cdf(draws[static_cast<std::size_t>(i)]) - cdf(-2)) / (cdf(2) - cdf(-2));
    distance = std::max(distance, std::abs(expected - (i + 0.5) / kCount));
  }
  EXPECT_LT(distance, 2 / std::sqrt(static_cast<double>(kCount)));
}

TEST(RandomStream, TruncatedNormalInvertsTheDistributionFunctionExactly) {
  // The draw is a function of the same bits as uniform(), so it can be checked one by one.
  const RandomStream stream(3, "inverse");
  const auto cdf = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  for (std::uint64_t i = 0; i < 10000; ++i) {
    const double position = (static_cast<double>(stream.bits(i) >> 11) + 0.5) * 0x1p-53;
    const double probability = cdf(-2) + position * (cdf(2) - cdf(-2));
    EXPECT_NEAR(cdf(stream.truncated_normal(i, 1.0F)), probability, 5e-8);  // float's rounding
  }
}

TEST(RandomStream, PermutationHoldsEachNumberOnceAndShuffles) {
  const RandomStream stream(1, "order");
  const auto order = stream.permutation(1000);
  EXPECT_EQ(std::set<std::int64_t>(order.begin(), order.end()).size(), 1000U);
  EXPECT_EQ(*std::min_element(order.begin(), order.end()), 0);
  EXPECT_EQ(*std::max_element(order.begin(), order.end()), 999);
  EXPECT_EQ(order, stream.permutation(1000));
  EXPECT_NE(order, stream.substream(1).permutation(1000));
  int at_home = 0;
  for (std::size_t i = 0; i < order.size(); ++i) at_home += order[i] == static_cast<int>(i);
  EXPECT_LT(at_home, 10);  // one on average
  EXPECT_TRUE(stream.permutation(0).empty());
  EXPECT_EQ(stream.permutation(1), std::vector<std::int64_t>{0});
}

}  // namespace
}  // namespace trib
