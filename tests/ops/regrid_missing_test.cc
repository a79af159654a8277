#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "ops/regrid/regrid_weights.h"
#include "tests/ops/regrid_testing.h"

namespace trib::ops {
namespace {

/// All links of each target, by mapping the unit fields.
std::vector<std::vector<double>> dense(const RegridWeights& weights) {
  std::vector<std::vector<double>> rows(static_cast<std::size_t>(weights.target_size));
  for (std::int64_t s = 0; s < weights.source_size; ++s) {
    std::vector<float> unit(static_cast<std::size_t>(weights.source_size), 0);
    unit[static_cast<std::size_t>(s)] = 1;
    const auto out = regridded(weights, unit);
    for (std::size_t t = 0; t < out.size(); ++t) rows[t].push_back(out[t]);
  }
  return rows;
}

/// The definition: weighted mean of what is valid, if that is enough.
float naive(const std::vector<double>& weights, const float* field, const MissingPolicy& missing) {
  double sum = 0, valid = 0;
  bool has_missing = false;
  for (std::size_t s = 0; s < weights.size(); ++s) {
    if (weights[s] == 0) continue;
    if (std::isnan(field[s])) {
      has_missing = true;
    } else {
      sum += weights[s] * field[s];
      valid += weights[s];
    }
  }
  if (has_missing && !missing.renormalise) return kNan;
  return valid > 0 && valid >= missing.min_valid - 1e-6 ? static_cast<float>(sum / valid) : kNan;
}

class MissingValues : public testing::TestWithParam<RegridMethod> {};

TEST_P(MissingValues, FollowTheDefinition) {
  const RegularGrid source = global_grid(12, 24, false);
  // Beyond the outermost rows too: these links do not factor into rows and columns.
  for (const RegularGrid& target : {global_grid(6, 9, false), global_grid(13, 20, true)}) {
    const RegridWeights weights = regrid_weights(source, target, GetParam());
    const auto links = dense(weights);
    std::mt19937 random(5);
    std::uniform_real_distribution<float> uniform(1, 2);
    for (const double density : {0.0, 0.1, 0.6, 1.0}) {
      constexpr std::int64_t kFields = 3;
      std::vector<float> fields(static_cast<std::size_t>(kFields * source.size()));
      for (float& value : fields) value = uniform(random) - 1 < density ? kNan : uniform(random);
      for (const MissingPolicy& missing : {MissingPolicy{}, MissingPolicy{true, 0},
                                           MissingPolicy{true, 0.5}, MissingPolicy{true, 1}}) {
        const auto out = regridded(weights, fields, kFields, missing);
        for (std::size_t i = 0; i < out.size(); ++i) {
          const std::size_t f = i / links.size();
          const float expected =
              naive(links[i % links.size()],
                    fields.data() + f * static_cast<std::size_t>(source.size()), missing);
          ASSERT_EQ(std::isnan(out[i]), std::isnan(expected)) << i << " at density " << density;
          if (std::isnan(expected)) continue;
          ASSERT_NEAR(out[i], expected, 1e-5) << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, MissingValues,
                         testing::Values(RegridMethod::bilinear, RegridMethod::nearest,
                                         RegridMethod::conservative));

// The part of a cell that lies outside the source counts as missing.
TEST(MissingPolicy, TakesTheOutsideForMissing) {
  const RegularGrid source{{0.5, 1.5}, {0.5, 1.5}};   // cells 0 .. 2
  const RegularGrid target{{-1.5, 1.5}, {1.5, 4.5}};  // cells -3 .. 0 .. 3 and 0 .. 3 .. 6
  const auto weights = regrid_weights(source, target, RegridMethod::conservative, true);
  const std::vector<float> field{1, 1, 1, 1};
  const auto value = [&](const MissingPolicy& missing) {
    const auto out = regridded(weights, field, 1, missing);
    EXPECT_TRUE(std::isnan(out[0]) && std::isnan(out[1]) && std::isnan(out[3]));
    return out[2];
  };
  EXPECT_TRUE(std::isnan(value({})));
  EXPECT_EQ(value({true, 0}), 1);
  EXPECT_EQ(value({true, 0.44}), 1);  // 2/3 of the longitudes, 0.667 of the area north
  EXPECT_TRUE(std::isnan(value({true, 0.45})));
}

}  // namespace
}  // namespace trib::ops
