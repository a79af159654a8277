#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "ops/regrid/regrid_weights.h"
#include "tests/ops/regrid_testing.h"

namespace trib::ops {
namespace {

constexpr double kRadians = M_PI / 180;

RegridWeights conservative(const RegularGrid& source, const RegularGrid& target,
                           bool allow_outside = false) {
  return regrid_weights(source, target, RegridMethod::conservative, allow_outside);
}

/// Mean over a cell by many points, each weighted by the cosine of its latitude. Points are spread
/// so that the edges of the source lie between them.
double naive_mean(const RegularGrid& grid, const std::vector<float>& field, double south,
                  double north, double west, double east) {
  constexpr double kStep = 0.25;
  const auto nearest = [](const std::vector<double>& centres, double x, bool turns) {
    std::size_t best = 0;
    double least = 1e9;
    for (std::size_t i = 0; i < centres.size(); ++i) {
      const double away = std::abs(turns ? std::remainder(x - centres[i], 360.0) : x - centres[i]);
      if (away < least) least = away, best = i;
    }
    return best;
  };
  double sum = 0, area = 0;
  for (double latitude = south + kStep / 2; latitude < north; latitude += kStep) {
    const std::size_t row = nearest(grid.latitudes, latitude, false);
    for (double longitude = west + kStep / 2; longitude < east; longitude += kStep) {
      const std::size_t column = nearest(grid.longitudes, longitude, true);
      sum += std::cos(latitude * kRadians) * field[row * grid.longitudes.size() + column];
      area += std::cos(latitude * kRadians);
    }
  }
  return sum / area;
}

TEST(Conservative, MeansAreThoseOfTheCells) {
  const RegularGrid source{steps(90, -7.5, 25), steps(-180, 7.5, 48)};  // with the poles
  const RegularGrid target{{-75, -45, -15, 15, 45, 75}, steps(0, 40, 9)};
  const auto field = sample(source, wave);
  const auto out = regridded(conservative(source, target), field);
  std::size_t k = 0;
  for (const double latitude : target.latitudes) {
    for (const double longitude : target.longitudes) {
      EXPECT_NEAR(
          out[k++],
          naive_mean(source, field, latitude - 15, latitude + 15, longitude - 20, longitude + 20),
          1e-3)
          << "at " << latitude << ", " << longitude;
    }
  }
}

/// Integral over the globe, cells as CDO and others draw them.
double integral(const RegularGrid& grid, const std::vector<float>& field) {
  const auto edge = [&](std::size_t i) {  // between row i - 1 and i, of ascending rows
    if (i == 0) return -90.0;
    if (i == grid.latitudes.size()) return 90.0;
    return (grid.latitudes[i - 1] + grid.latitudes[i]) / 2;
  };
  const std::size_t columns = grid.longitudes.size();
  double sum = 0;
  for (std::size_t i = 0; i < grid.latitudes.size(); ++i) {
    const double band = std::sin(edge(i + 1) * kRadians) - std::sin(edge(i) * kRadians);
    for (std::size_t j = 0; j < columns; ++j) sum += band / columns * field[i * columns + j];
  }
  return sum;
}

TEST(Conservative, KeepsTheIntegral) {
  const RegularGrid source = global_grid(181, 360, true);
  for (const RegularGrid& target :
       {weatherbench_grid(5.625), global_grid(91, 77, true), gaussian_grid(32, 64)}) {
    const auto field = sample(source, wave);
    const auto out = regridded(conservative(source, target), field);
    const double before = integral(source, field);
    EXPECT_NEAR(integral(target, out), before, 1e-6 * std::abs(before));
  }
}

TEST(Conservative, OrderAndTurnOfTheAxesDoNotMatter) {
  const RegularGrid plain{steps(-90, 2.5, 73), steps(0, 2.5, 144)};
  const RegularGrid target = weatherbench_grid(5.625);
  const auto expected = regridded(conservative(plain, target), sample(plain, wave));
  RegularGrid other = plain;
  std::reverse(other.latitudes.begin(), other.latitudes.end());
  std::rotate(other.longitudes.begin(), other.longitudes.begin() + 60, other.longitudes.end());
  EXPECT_EQ(regridded(conservative(other, target), sample(other, wave)).size(), expected.size());
  const auto rotated = regridded(conservative(other, target), sample(other, wave));
  RegularGrid reversed = target;
  std::reverse(reversed.latitudes.begin(), reversed.latitudes.end());
  for (double& longitude : reversed.longitudes) longitude -= 360;
  const auto turned = regridded(conservative(plain, reversed), sample(plain, wave));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::size_t mirrored = (31 - i / 64) * 64 + i % 64;
    EXPECT_NEAR(rotated[i], expected[i], 1e-4);
    EXPECT_NEAR(turned[mirrored], expected[i], 1e-4);
  }
}

TEST(Conservative, GivenEdgesGoBeforeThoseMidway) {
  RegularGrid source{{-45, 45}, {90, 270}};
  const RegularGrid target{{-60, 60}, {90, 270}, {-90, -30, 90}, {0, 180, 360}};
  const std::vector<float> field{1, 1, 2, 2};
  const auto out = regridded(conservative(source, target), field);
  EXPECT_FLOAT_EQ(out[0], 1);
  // Of the area north of -30 degrees, 1.5 in units of the equator's disk, one third is south.
  EXPECT_FLOAT_EQ(out[2], static_cast<float>((0.5 * 1 + 1 * 2) / 1.5));
  RegularGrid wrong = target;
  wrong.latitude_edges = {-90, 90};
  EXPECT_THROW(conservative(source, wrong), ConfigError);
  wrong.latitude_edges = {-90, 70, 90};
  EXPECT_THROW(conservative(source, wrong), ConfigError);
}

TEST(Conservative, OneCellNeedsEdges) {
  const RegularGrid source = global_grid(18, 36, false);
  EXPECT_THROW(conservative(source, {{0}, {0, 10}}), ConfigError);
  const RegularGrid globe{{0}, {180}, {-90, 90}, {0, 360}};
  const auto out = regridded(conservative(source, globe), std::vector<float>(18 * 36, 7));
  EXPECT_FLOAT_EQ(out[0], 7);
}

TEST(Conservative, LatitudesThatWentThroughSinglePrecisionTouchNoNeighbour) {
  RegularGrid source = global_grid(64, 128, false);
  for (double& latitude : source.latitudes) latitude += 4e-6;
  std::vector<float> field(64 * 128, 1);
  for (std::size_t j = 0; j < 128; ++j) field[10 * 128 + j] = kNan;
  const auto out = regridded(conservative(source, weatherbench_grid(5.625)), field);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i / 64 == 5) << i;
}

}  // namespace
}  // namespace trib::ops
