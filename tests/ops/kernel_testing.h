// What the tests of kernels share: random inputs, comparison with references, and the promise that
// the number of threads does not change a bit of the result.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include "ops/base/bfloat16.h"
#include "ops/base/random.h"

namespace trib::test {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;
using Halves = std::vector<BFloat16>;

/// Each number as bfloat16, and back.
inline Halves rounded(const Floats& values) {
  Halves result;
  for (const float value : values) result.push_back(BFloat16(value));
  return result;
}
inline Floats widened(const Halves& values) {
  Floats result;
  for (const BFloat16 value : values) result.push_back(static_cast<float>(value));
  return result;
}

/// Standard normal numbers, always the same for a name.
inline Floats random_values(std::string_view name, std::int64_t count, float scale = 1.0F) {
  const RandomStream stream(2024, name);
  Floats values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale * stream.normal(i);
  return values;
}

/// Compare with a reference; the tolerance is relative to the reference's largest element.
inline void expect_close(const Floats& actual, const Doubles& expected, double tolerance,
                         const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1e-30;
  for (const double e : expected) largest = std::max(largest, std::abs(e));
  for (std::size_t i = 0; i < actual.size(); ++i) {
    // Written so that not-a-number fails.
    if (!(std::abs(actual[i] - expected[i]) <= tolerance * largest)) {
      FAIL() << what << "[" << i << "]: expected " << expected[i] << ", found " << actual[i]
             << ", tolerance " << tolerance * largest;
    }
  }
}

inline double weighted_sum(const Doubles& values, const Floats& weights) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) sum += values[i] * weights[i];
  return sum;
}

/// Run `kernel` on 1, 2 and 3 threads and expect the same bits.
inline void expect_same_on_any_threads(const std::string& what,
                                       const std::function<Floats()>& kernel) {
  // Real threads even on a machine with fewer processors.
  const tbb::global_control allow(tbb::global_control::max_allowed_parallelism, 3);
  const auto run = [&](int threads) {
    Floats result;
    tbb::task_arena(threads).execute([&] { result = kernel(); });
    return result;
  };
  const Floats one = run(1);
  ASSERT_FALSE(one.empty()) << what;
  for (const int threads : {2, 3}) {
    const Floats many = run(threads);
    ASSERT_EQ(one.size(), many.size()) << what;
    EXPECT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)), 0)
        << what << " on " << threads << " threads";
  }
}

}  // namespace trib::test
