// The one gradient checker: analytic gradients against central differences.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include <gtest/gtest.h>

namespace trib::test {

struct GradientCheck {
  double step = 1e-2;       ///< of the central difference
  double tolerance = 2e-2;  ///< on |analytic - numeric| relative to the gradient's largest element
  std::int64_t max_elements = 64;  ///< spread over the vector; all if it has fewer
  double floor = 1e-5;             ///< smaller gradients are compared as if they were this large
};

/// Compare d loss / d values with central differences of `loss`, which must read `values` afresh
/// and return a smooth function of them, computed in double where it matters.
inline void check_gradient(const std::string& name, std::span<float> values,
                           std::span<const float> gradient, const std::function<double()>& loss,
                           const GradientCheck& check = {}) {
  ASSERT_EQ(values.size(), gradient.size()) << name;
  double largest = 0;
  for (const float g : gradient) largest = std::max(largest, std::abs(static_cast<double>(g)));
  const auto count = static_cast<std::int64_t>(values.size());
  const std::int64_t checked = std::min(count, check.max_elements);
  for (std::int64_t j = 0; j < checked; ++j) {
    const auto i = static_cast<std::size_t>(j * count / checked);
    const float saved = values[i];
    values[i] = static_cast<float>(saved + check.step);
    const double plus_x = values[i];
    const double plus = loss();
    values[i] = static_cast<float>(saved - check.step);
    const double minus_x = values[i];
    const double minus = loss();
    values[i] = saved;
    const double numeric = (plus - minus) / (plus_x - minus_x);
    EXPECT_NEAR(gradient[i], numeric, check.tolerance * std::max(largest, check.floor))
        << name << "[" << i << "] analytic " << gradient[i] << " numeric " << numeric;
  }
}

}  // namespace trib::test
