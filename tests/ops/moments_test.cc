#include "ops/kernels/moments.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/random.h"

namespace trib {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> noise(std::int64_t count, float mean, float width) {
  const RandomStream random(5, "moments");
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(mean + width * random.normal(static_cast<std::uint64_t>(i)));
  }
  return values;
}

Moments naive(const std::vector<float>& values) {
  Moments m;
  long double sum = 0, squares = 0;
  for (const float v : values) {
    m.total += 1;
    if (!std::isfinite(v)) continue;
    m.min = m.count == 0 ? v : std::min<double>(m.min, v);
    m.max = m.count == 0 ? v : std::max<double>(m.max, v);
    m.count += 1;
    sum += v;
  }
  m.mean = static_cast<double>(sum / m.count);
  for (const float v : values) {
    if (std::isfinite(v)) squares += (v - sum / m.count) * (v - sum / m.count);
  }
  m.m2 = static_cast<double>(squares);
  return m;
}

void expect_near(const Moments& found, const Moments& expected) {
  EXPECT_EQ(found.total, expected.total);
  EXPECT_EQ(found.count, expected.count);
  EXPECT_NEAR(found.mean, expected.mean, 1e-12 * std::abs(expected.mean));
  EXPECT_NEAR(found.std(), expected.std(), 1e-10 * expected.std());
  EXPECT_EQ(found.min, expected.min);
  EXPECT_EQ(found.max, expected.max);
}

TEST(Moments, AreThoseOfTwoPassesInExtendedPrecision) {
  for (const std::int64_t count : {1, 7, 4096, 4097, 100'003}) {
    SCOPED_TRACE(count);
    std::vector<float> values = noise(count, 54000, 3);  // what cancels in sums of squares
    expect_near(moments_of(values.data(), count), naive(values));
    for (std::size_t i = 1; i < values.size(); i += 3) values[i] = i % 2 == 0 ? kNan : kInf;
    expect_near(moments_of(values.data(), count), naive(values));
  }
}

TEST(Moments, OfNothingAreZero) {
  const std::vector<float> values(5000, kNan);
  Moments expected;
  expected.total = 5000;
  EXPECT_EQ(moments_of(values.data(), 5000), expected);
  EXPECT_EQ(moments_of(values.data(), 0), Moments{});
  EXPECT_EQ(expected.std(), 0);
}

TEST(Moments, MergeToThoseOfTheWhole) {
  std::vector<float> values = noise(30'000, -3, 100);
  values[17] = kNan;
  Moments merged;
  for (std::int64_t begin = 0; begin < 30'000; begin += 1500) {
    merged.merge(moments_of(values.data() + begin, 1500));
    merged.merge(Moments{});
  }
  expect_near(merged, naive(values));
  Moments missing;
  missing.total = 4;
  Moments all = missing;
  all.merge(merged);
  EXPECT_EQ(all.total, 30'004);
  EXPECT_EQ(all.mean, merged.mean);
  EXPECT_EQ(all.min, merged.min);
}

TEST(Moments, OfLargeValuesDoNotOverflow) {
  const std::vector<float> values{-3e38F, 3e38F, std::numeric_limits<float>::max()};
  const Moments m = moments_of(values.data(), 3);
  EXPECT_EQ(m.count, 3);
  EXPECT_TRUE(std::isfinite(m.m2));
  EXPECT_EQ(m.min, -3e38F);
  EXPECT_EQ(m.max, std::numeric_limits<float>::max());
}

}  // namespace
}  // namespace trib
