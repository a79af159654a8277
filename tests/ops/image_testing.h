// Images for the tests of ops/image.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/random.h"
#include "ops/base/tensor.h"

namespace trib::test {

constexpr float kNoValue = std::numeric_limits<float>::quiet_NaN();

/// Normal numbers, of which the fraction `missing` is missing.
inline Tensor random_image(std::int64_t channels, std::int64_t height, std::int64_t width,
                           double missing = 0) {
  Tensor image = Tensor::empty({channels, height, width}, DType::f32, MemoryKind::ingest);
  const RandomStream values(7, "values"), holes(7, "holes");
  for (std::int64_t i = 0; i < image.numel(); ++i) {
    const auto n = static_cast<std::uint64_t>(i);
    image.data<float>()[i] = holes.uniform(n) < missing ? kNoValue : values.normal(n);
  }
  return image;
}

inline float at(const Tensor& image, std::int64_t c, std::int64_t y, std::int64_t x) {
  return image.data<float>()[(c * image.dim(1) + y) * image.dim(2) + x];
}

/// Equal bit for bit, missing values included.
inline bool is_same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data<float>(), b.data<float>(), a.nbytes()) == 0;
}

/// Each value close to the reference, missing where that is.
inline void expect_near(const Tensor& actual, const std::vector<double>& expected,
                        double tolerance) {
  ASSERT_EQ(static_cast<std::size_t>(actual.numel()), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const float value = actual.data<float>()[i];
    ASSERT_EQ(std::isnan(value), std::isnan(expected[i])) << "at " << i;
    if (!std::isnan(value)) {
      ASSERT_NEAR(value, expected[i], tolerance) << "at " << i;
    }
  }
}

}  // namespace trib::test
