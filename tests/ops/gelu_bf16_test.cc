// GELU of every bfloat16 there is, against double precision.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/bfloat16.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/vector/gelu.h"

namespace trib::ops {
namespace {

constexpr std::int64_t kCount = 1 << 16;

std::vector<BFloat16> every_bfloat16() {
  std::vector<BFloat16> all(kCount);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  return all;
}

struct Results {
  std::vector<BFloat16> value{every_bfloat16()}, again{value}, slope{value};
};

Results results_of(const std::vector<BFloat16>& x) {
  const std::vector<BFloat16> one(x.size(), BFloat16(1.0F));
  Results results;
  gelu_forward(results.value.data(), x.data(), kCount);
  gelu_backward(results.slope.data(), results.again.data(), one.data(), x.data(), kCount);
  return results;
}

// Half a unit in the last of the 8 bits of x; the smallest normal number where x is next to
// nothing.
double half_unit(double x) {
  constexpr double kLeast = 256.0 * std::numeric_limits<float>::min();
  return std::ldexp(1.0, std::ilogb(std::max(std::abs(x), kLeast)) - 8);
}

TEST(GeluOfEveryBfloat16, IsWithinItsBounds) {
  const std::vector<BFloat16> x = every_bfloat16();
  const Results results = results_of(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double at = static_cast<float>(x[i]);
    if (!std::isfinite(at)) continue;
    const double cdf = 0.5 * std::erfc(-at * std::numbers::sqrt2 / 2);
    const double value = at * cdf;
    const double slope =
        cdf + at * std::exp(-0.5 * at * at) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    const double value_error = std::abs(static_cast<float>(results.value[i]) - value);
    const double slope_error = std::abs(static_cast<float>(results.slope[i]) - slope);
    const double allowed = at < -3 ? 1.7e-5 : std::min(1.7e-5, std::abs(value) / 2048);
    ASSERT_LE(value_error, half_unit(value) + allowed) << at;
    ASSERT_LE(slope_error, half_unit(slope) + 3.5e-5) << at;
    ASSERT_EQ(results.again[i].bits, results.value[i].bits) << at;
  }
}

TEST(GeluOfEveryBfloat16, KeepsTheEnds) {
  const std::vector<BFloat16> x = every_bfloat16();
  const Results results = results_of(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float at = static_cast<float>(x[i]), value = static_cast<float>(results.value[i]),
                slope = static_cast<float>(results.slope[i]);
    if (std::isnan(at)) {
      ASSERT_TRUE(std::isnan(value) && std::isnan(slope)) << i;
    } else if (at > 5) {
      ASSERT_EQ(value, at);
      ASSERT_EQ(slope, 1) << at;
    } else if (at < -5) {
      ASSERT_TRUE(value == 0 || std::isinf(at)) << at;
      ASSERT_EQ(slope, 0) << at;
    } else if (at == 0) {
      ASSERT_EQ(value, 0);
      ASSERT_EQ(slope, 0.5F);
    }
  }
}

TEST(GeluOfEveryBfloat16, IsTheSameWhereverARangeBegins) {
  const std::vector<BFloat16> x = every_bfloat16();
  const Results results = results_of(x);
  constexpr std::int64_t kPart = 83;  // some pairs of vectors, a vector, and a part of one
  std::vector<BFloat16> part(kPart);
  for (std::int64_t i = 0; i + kPart <= kCount; i += kPart) {
    gelu_range(part.data(), x.data() + i, kPart);
    for (std::int64_t j = 0; j < kPart; ++j) {
      ASSERT_EQ(part[static_cast<std::size_t>(j)].bits,
                results.value[static_cast<std::size_t>(i + j)].bits)
          << i + j;
    }
  }
}

}  // namespace
}  // namespace trib::ops
