#include "ops/regrid/regular_grid.h"

#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::ops {
namespace {

TEST(WeatherbenchGrid, HasThePublishedCoordinates) {
  const RegularGrid grid = weatherbench_grid(5.625);
  ASSERT_EQ(grid.latitudes.size(), 32u);
  ASSERT_EQ(grid.longitudes.size(), 64u);
  EXPECT_EQ(grid.latitudes.front(), -87.1875);
  EXPECT_EQ(grid.latitudes.back(), 87.1875);
  EXPECT_EQ(grid.longitudes.front(), 0);
  EXPECT_EQ(grid.longitudes.back(), 354.375);
  EXPECT_EQ(weatherbench_grid(1.40625).size(), 128 * 256);
  EXPECT_THROW(weatherbench_grid(7), ConfigError);
  EXPECT_THROW(weatherbench_grid(0), ConfigError);
}

TEST(GlobalGrid, LeavesOutOrTakesInThePoles) {
  const RegularGrid cells = global_grid(32, 64, false);
  EXPECT_EQ(cells, weatherbench_grid(5.625));
  const RegularGrid era5 = global_grid(721, 1440, true);
  EXPECT_EQ(era5.latitudes.front(), -90);
  EXPECT_EQ(era5.latitudes[360], 0);
  EXPECT_EQ(era5.latitudes.back(), 90);
  EXPECT_EQ(era5.longitudes[1], 0.25);
  EXPECT_EQ(era5.longitudes.back(), 359.75);
  EXPECT_THROW(global_grid(1, 64, false), ConfigError);
}

// Latitudes as in the files of the ECMWF's N16 grid (32 latitudes, from the north).
TEST(GaussianGrid, HasThePublishedLatitudes) {
  const RegularGrid grid = gaussian_grid(32, 64);
  ASSERT_EQ(grid.latitudes.size(), 32u);
  EXPECT_NEAR(grid.latitudes[31], 85.7606, 5e-5);
  EXPECT_NEAR(grid.latitudes[30], 80.2688, 5e-5);
  EXPECT_NEAR(grid.latitudes[16], 2.7689, 5e-5);
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_NEAR(grid.latitudes[i], -grid.latitudes[31 - i], 1e-12);
  }
  EXPECT_NEAR(gaussian_grid(3, 4).latitudes[1], 0, 1e-12);  // odd: the equator is one
  EXPECT_EQ(grid.longitudes[1], 5.625);
}

}  // namespace
}  // namespace trib::ops
