#include <algorithm>
#include <cmath>
#include <map>

#include "ops/image/tone.h"
#include "tests/ops/image_testing.h"

namespace trib::ops {
namespace {

constexpr ToneRange kRange{-2, 2};
constexpr std::int64_t kHeight = 13, kWidth = 21, kPixels = kHeight * kWidth;

class ToneOf : public ::testing::TestWithParam<double> {
 protected:
  Tensor image_ = test::random_image(1, kHeight, kWidth, GetParam());
  const Tensor before_ = image_.clone();
  float* plane_ = image_.data<float>();

  template <class Value>
  void expect_each(Value&& value) {
    std::vector<double> expected;
    for (std::int64_t i = 0; i < kPixels; ++i) {
      const float was = before_.data<float>()[i];
      expected.push_back(std::isnan(was) ? std::nan("") : value(static_cast<double>(was)));
    }
    test::expect_near(image_, expected, 1e-5);
  }
  std::vector<double> valid() const {
    std::vector<double> values;
    for (std::int64_t i = 0; i < kPixels; ++i) {
      if (!std::isnan(before_.data<float>()[i])) values.push_back(before_.data<float>()[i]);
    }
    return values;
  }
};

TEST_P(ToneOf, BrightnessIsAFactorAboveBlack) {
  brighten(plane_, kPixels, kRange, 1.3F);
  expect_each([](double v) { return -2 + 1.3F * (v + 2); });
}

TEST_P(ToneOf, ContrastKeepsTheMean) {
  change_contrast(plane_, kPixels, 0.4F);
  double mean = 0;
  for (const double v : valid()) mean += v / static_cast<double>(valid().size());
  expect_each([&](double v) { return mean + 0.4F * (v - mean); });
}

TEST_P(ToneOf, SharpnessBlendsWithTheSmoothedImage) {
  sharpen(plane_, kHeight, kWidth, 1.7F);
  std::vector<double> expected;
  for (std::int64_t y = 0; y < kHeight; ++y) {
    for (std::int64_t x = 0; x < kWidth; ++x) {
      const double was = test::at(before_, 0, y, x);
      if (std::isnan(was) || y == 0 || x == 0 || y + 1 == kHeight || x + 1 == kWidth) {
        expected.push_back(was);
        continue;
      }
      double sum = 0, weight = 0;
      for (std::int64_t v = y - 1; v <= y + 1; ++v) {
        for (std::int64_t u = x - 1; u <= x + 1; ++u) {
          const double w = v == y && u == x ? 5 : 1;
          if (std::isnan(test::at(before_, 0, v, u))) continue;
          sum += w * test::at(before_, 0, v, u);
          weight += w;
        }
      }
      expected.push_back(sum / weight + 1.7F * (was - sum / weight));
    }
  }
  test::expect_near(image_, expected, 1e-5);
}

TEST_P(ToneOf, PosterizeHasSteps) {
  posterize(plane_, kPixels, kRange, 3);
  expect_each([](double v) { return std::floor((v + 2) * 2) / 2 - 2; });
}

TEST_P(ToneOf, SolarizeMirrorsWhatIsBright) {
  solarize(plane_, kPixels, kRange, 0.75F);
  expect_each([](double v) { return v >= 1 ? -v : v; });
}

TEST_P(ToneOf, AutocontrastFillsTheRange) {
  stretch_contrast(plane_, kPixels, kRange);
  const std::vector<double> values = valid();
  const auto [min, max] = std::minmax_element(values.begin(), values.end());
  expect_each([&](double v) { return -2 + 4 * (v - *min) / (*max - *min); });
}

// The table of Pillow's ImageOps.equalize, without its rounding to bytes.
TEST_P(ToneOf, EqualizeSpreadsTheHistogram) {
  equalize(plane_, kPixels, kRange);
  const auto step = [](double v) { return std::clamp(std::lround((v + 2) / 4 * 255), 0L, 255L); };
  std::map<long, double> histogram;
  for (const double v : valid()) ++histogram[step(v)];
  const double rest = static_cast<double>(valid().size()) - histogram.rbegin()->second;
  expect_each([&](double v) {
    double below = 0;
    for (const auto& [s, count] : histogram) below += s < step(v) ? count : 0;
    return -2 + 4 * below / rest;
  });
}

INSTANTIATE_TEST_SUITE_P(WholeAndWithHoles, ToneOf, ::testing::Values(0.0, 0.25));

TEST(Tone, ChannelsOfOneValueOrNoneStayAsTheyAre) {
  for (const float value : {0.5F, test::kNoValue}) {
    std::vector<float> plane(12, value);
    stretch_contrast(plane.data(), 12, kRange);
    equalize(plane.data(), 12, kRange);
    change_contrast(plane.data(), 12, 0.3F);
    sharpen(plane.data(), 3, 4, 0.3F);
    for (const float v : plane) EXPECT_TRUE(v == value || (std::isnan(v) && std::isnan(value)));
  }
}

TEST(Tone, NoiseIsNormalAndRepeats) {
  constexpr std::int64_t kCount = 40001;
  const RandomStream random(3, "noise");
  std::vector<float> noise(kCount, 0.0F), again(kCount, 0.0F), shorter(17, 1.0F);
  add_noise(noise.data(), kCount, random, 0.5F);
  add_noise(again.data(), kCount, random, 0.5F);
  add_noise(shorter.data(), 17, random, 0.5F);
  EXPECT_EQ(noise, again);
  for (std::size_t i = 0; i < 17; ++i) EXPECT_FLOAT_EQ(shorter[i], 1 + noise[i]);
  double sum = 0, squares = 0, fourths = 0, neighbours = 0;
  for (std::size_t i = 0; i < noise.size(); ++i) {
    const double v = 2.0 * static_cast<double>(noise[i]);
    sum += v;
    squares += v * v;
    fourths += v * v * v * v;
    if (i > 0) neighbours += v * 2.0 * static_cast<double>(noise[i - 1]);
  }
  EXPECT_NEAR(sum / kCount, 0, 0.02);
  EXPECT_NEAR(squares / kCount, 1, 0.03);
  EXPECT_NEAR(fourths / kCount, 3, 0.2);
  EXPECT_NEAR(neighbours / kCount, 0, 0.02);
}

}  // namespace
}  // namespace trib::ops
