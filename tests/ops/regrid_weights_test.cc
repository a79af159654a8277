#include "ops/regrid/regrid_weights.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/ops/regrid_testing.h"

namespace trib::ops {
namespace {

RegridWeights bilinear(const RegularGrid& source, const RegularGrid& target,
                       bool allow_outside = false) {
  return regrid_weights(source, target, RegridMethod::bilinear, allow_outside);
}

/// The definition, point by point: the cell that holds the target is searched among all cells.
double naive_bilinear(const RegularGrid& grid, const std::vector<float>& field, double latitude,
                      double longitude) {
  const std::size_t rows = grid.latitudes.size(), columns = grid.longitudes.size();
  const auto turned = [&](double degrees) { return degrees - 360 * std::floor(degrees / 360); };
  for (std::size_t i = 0; i + 1 < rows; ++i) {
    const double v = (latitude - grid.latitudes[i]) / (grid.latitudes[i + 1] - grid.latitudes[i]);
    if (v < 0 || v > 1) continue;
    for (std::size_t j = 0; j < columns; ++j) {
      const std::size_t next = (j + 1) % columns;
      const double u = turned(longitude - grid.longitudes[j]) /
                       turned(grid.longitudes[next] - grid.longitudes[j]);
      if (u > 1) continue;
      return (1 - v) * ((1 - u) * field[i * columns + j] + u * field[i * columns + next]) +
             v * ((1 - u) * field[(i + 1) * columns + j] + u * field[(i + 1) * columns + next]);
    }
  }
  return kNan;
}

void expect_as_naive(const RegularGrid& source, const RegularGrid& target) {
  const std::vector<float> field = sample(source, wave);
  const std::vector<float> out = regridded(bilinear(source, target), field);
  std::size_t k = 0;
  for (const double latitude : target.latitudes) {
    for (const double longitude : target.longitudes) {
      EXPECT_NEAR(out[k++], naive_bilinear(source, field, latitude, longitude), 1e-4)
          << "at " << latitude << ", " << longitude;
    }
  }
}

TEST(RegridWeights, EqualTheDefinition) {
  const RegularGrid target{{-71.3, 0, 12.5, 88.1}, {-170.2, -0.4, 3.3, 179.9, 358.7, 359.99}};
  expect_as_naive({steps(-90, 7.5, 25), steps(0, 7.5, 48)}, target);
  expect_as_naive({steps(90, -7.5, 25), steps(0, 7.5, 48)}, target);
  expect_as_naive({steps(90, -7.5, 25), steps(-180, 7.5, 48)}, target);
}

TEST(RegridWeights, AxesMayRunEitherWayAndStepOverTheDateLine) {
  const RegularGrid target = weatherbench_grid(5.625);
  const RegularGrid plain{steps(-90, 2.5, 73), steps(0, 2.5, 144)};
  const auto expected = regridded(bilinear(plain, target), sample(plain, wave));
  RegularGrid other = plain;
  std::reverse(other.latitudes.begin(), other.latitudes.end());
  std::rotate(other.longitudes.begin(), other.longitudes.begin() + 60, other.longitudes.end());
  const auto rotated = regridded(bilinear(other, target), sample(other, wave));
  std::reverse(other.longitudes.begin(), other.longitudes.end());
  const auto reversed = regridded(bilinear(other, target), sample(other, wave));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(rotated[i], expected[i], 1e-4);
    EXPECT_NEAR(reversed[i], expected[i], 1e-4);
  }
}

TEST(RegridWeights, ConstantsAreExact) {
  for (const double degrees : {1.40625, 2.8125, 5.625}) {
    const RegridWeights weights = bilinear(era5_grid(), weatherbench_grid(degrees));
    const auto out = regridded(weights, std::vector<float>(721 * 1440, 273.16f));
    for (const float value : out) ASSERT_EQ(value, 273.16f);
  }
}

TEST(RegridWeights, FieldsLinearInLatitudeAreExact) {
  const RegularGrid target{{-89.875, -12.3125, 0.0625, 45, 89.9375}, {0.1, 200.7, 359.9}};
  const auto linear = [](double latitude, double) { return 250 + 0.5 * latitude; };
  const auto out = regridded(bilinear(era5_grid(), target), sample(era5_grid(), linear));
  const auto expected = sample(target, linear);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_FLOAT_EQ(out[i], expected[i]);
}

TEST(RegridWeights, WrapFromTheLastColumnToTheFirst) {
  const RegularGrid source{{-1, 1}, steps(0, 0.25, 1440)};
  std::vector<float> field(source.longitudes.size() * 2, 0.0f);
  field[0] = field[1440] = 1;  // longitude 0
  for (const double turns : {-360.0, 0.0, 360.0}) {
    const RegularGrid target{{0}, {359.75 + turns, 359.8125 + turns, 359.9375 + turns}};
    const auto out = regridded(bilinear(source, target), field);
    EXPECT_EQ(out, (std::vector<float>{0.0f, 0.25f, 0.75f}));
  }
}

TEST(RegridWeights, FileThatRepeatsItsFirstColumn) {
  const RegularGrid source{{-1, 1}, steps(0, 90, 5)};  // 0 .. 360
  const auto out =
      regridded(bilinear(source, {{0}, {-45, 315, 360}}), {1, 2, 3, 4, 1, 1, 2, 3, 4, 1});
  EXPECT_EQ(out, (std::vector<float>{2.5f, 2.5f, 1.0f}));
}

TEST(RegridWeights, HoldNoLinkOfWeightZero) {
  const RegularGrid grid{steps(-90, 30, 7), steps(0, 30, 12)};
  const RegridWeights same = bilinear(grid, grid);
  std::vector<std::int32_t> identity(12);
  std::iota(identity.begin(), identity.end(), 0);
  EXPECT_EQ(same.longitude.weights, std::vector<double>(12, 1.0));
  EXPECT_EQ(same.longitude.columns, identity);
  identity.resize(7);
  EXPECT_EQ(same.latitude.weights, std::vector<double>(7, 1.0));
  EXPECT_EQ(same.latitude.columns, identity);
  // A latitude that went through single precision still meets its row.
  RegularGrid rounded = grid;
  for (double& latitude : rounded.latitudes) latitude += 1e-5;
  EXPECT_EQ(bilinear(rounded, grid).latitude.columns, identity);
}

TEST(RegridWeights, NanSpreadsOnlyAlongContributingLinks) {
  const RegularGrid source{{0, 1, 2}, {0, 1, 2}};
  const std::vector<float> field{0, 1, 2, 3, kNan, 5, 6, 7, 8};
  const auto out = regridded(bilinear(source, {{0, 0.5, 1, 2}, {0, 0.5, 1, 2}}), field);
  const std::vector<bool> is_nan{false, false, false, false, false, true,  true,  false,
                                 false, true,  true,  false, false, false, false, false};
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), is_nan[i]) << i;
}

TEST(RegridWeights, ManyFieldsEqualOneByOne) {
  const RegridWeights weights = bilinear(era5_grid(), weatherbench_grid(5.625));
  std::vector<float> fields;
  std::vector<float> expected;
  for (int f = 0; f < 5; ++f) {
    const auto field = sample(era5_grid(), [f](double a, double b) { return f * wave(a, b); });
    const auto out = regridded(weights, field);
    fields.insert(fields.end(), field.begin(), field.end());
    expected.insert(expected.end(), out.begin(), out.end());
  }
  EXPECT_EQ(regridded(weights, fields, 5), expected);
}

TEST(RegridWeights, AdjointSatisfiesTheDotProductIdentity) {
  const RegularGrid without_poles{steps(-84, 12, 15), steps(0, 11.25, 32)};
  const RegularGrid target = weatherbench_grid(7.5);
  for (const RegridMethod method :
       {RegridMethod::bilinear, RegridMethod::nearest, RegridMethod::conservative}) {
    const RegridWeights weights = regrid_weights(without_poles, target, method);
    constexpr std::int64_t kFields = 3;
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<std::size_t>(kFields * weights.source_size));
    std::vector<float> y(static_cast<std::size_t>(kFields * weights.target_size));
    for (float& value : x) value = normal(random);
    for (float& value : y) value = normal(random);
    std::vector<float> adjoint(x.size(), kNan);
    weights.apply_adjoint(adjoint.data(), y.data(), kFields);
    const auto mapped = regridded(weights, x, kFields);
    const double there = std::inner_product(mapped.begin(), mapped.end(), y.begin(), 0.0);
    const double back = std::inner_product(adjoint.begin(), adjoint.end(), x.begin(), 0.0);
    EXPECT_NEAR(there, back, 1e-5 * std::abs(there));
    EXPECT_GT(std::abs(there), 1.0);
  }
}

TEST(RegridWeights, TargetsOutsideTheSourceAreRefused) {
  const RegularGrid regional{steps(40, 0.5, 21), steps(-10, 0.5, 41)};
  EXPECT_NO_THROW(bilinear(regional, {{40, 50}, {350, 10}}));
  EXPECT_THROW(bilinear(regional, {{50.2}, {0}}), ConfigError);
  EXPECT_THROW(bilinear(regional, {{45}, {10.2}}), ConfigError);
  const RegularGrid band{steps(-60, 1, 121), steps(0, 1, 360)};
  EXPECT_NO_THROW(bilinear(band, {{60.9, -61}, {0.5}}));
  EXPECT_THROW(bilinear(band, {{61.1}, {0.5}}), ConfigError);
  EXPECT_THROW(bilinear(band, {{std::nan("")}, {0.5}}), ConfigError);
  EXPECT_THROW(bilinear(band, {{0}, {std::nan("")}}), ConfigError);
}

TEST(RegridWeights, TargetsOutsideBecomeMissingIfAllowed) {
  const RegularGrid regional{steps(40, 5, 3), steps(-10, 5, 5)};
  const RegularGrid target{{39, 40, 50}, {349, 350, 10, 11}};
  for (const RegridMethod method : {RegridMethod::bilinear, RegridMethod::nearest}) {
    const RegularGrid far{{30, 40, 50}, {340, 350, 10, 20}};
    const auto weights = regrid_weights(regional, far, method, true);
    const auto out = regridded(weights, sample(regional, wave));
    for (std::size_t i = 0; i < out.size(); ++i) {
      const bool inside = i >= 4 && i % 4 != 0 && i % 4 != 3;
      EXPECT_EQ(std::isnan(out[i]), !inside) << i;
    }
    EXPECT_THROW(regrid_weights(regional, far, method), ConfigError);
    EXPECT_THROW(regrid_weights(regional, {{std::nan("")}, {0}}, method, true), ConfigError);
    EXPECT_THROW(regrid_weights(regional, {{45}, {std::nan("")}}, method, true), ConfigError);
  }
  // A point within the outermost cell, beyond its centre, is nearest to it and between none.
  EXPECT_THROW(bilinear(regional, target), ConfigError);
  EXPECT_NO_THROW(regrid_weights(regional, target, RegridMethod::nearest));
}

TEST(RegridWeights, SourcesThatAreNoGridAreRefused) {
  const RegularGrid target{{0}, {0}};
  EXPECT_THROW(bilinear({{0, 1, 1}, {0, 1}}, target), ConfigError);
  EXPECT_THROW(bilinear({{0, 1, 0.5}, {0, 1}}, target), ConfigError);
  EXPECT_THROW(bilinear({{0}, {0, 1}}, target), ConfigError);
  EXPECT_THROW(bilinear({{0, 91}, {0, 1}}, target), ConfigError);
  EXPECT_THROW(bilinear({{0, 1}, steps(0, 90, 6)}, target), ConfigError);
}

}  // namespace
}  // namespace trib::ops
