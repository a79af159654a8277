#include "io/grid/grid_description.h"

#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/io/netcdf_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using testing::HasSubstr;

class GridDescription : public testing::Test {
 protected:
  ops::RegularGrid read_text(const std::string& text) {
    std::ofstream(dir_.file("target.grid")) << text;
    return read_grid_description(dir_.file("target.grid"));
  }
  void expect_refused(const std::string& text, const std::string& because) {
    try {
      read_text(text);
      FAIL() << text;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(because));
      EXPECT_THAT(error.what(), HasSubstr("target.grid"));
    }
  }
  test::TempDir dir_;
};

TEST_F(GridDescription, TextOfFirstAndIncrement) {
  const ops::RegularGrid grid = read_text(
      "# a comment\ngridtype  = lonlat\nxsize=64\nysize=32\nxfirst=0\nxinc=5.625\n"
      "yfirst=-87.1875\nyinc=5.625\n");
  EXPECT_EQ(grid, ops::weatherbench_grid(5.625));
}

TEST_F(GridDescription, TextOfListsAndBounds) {
  const ops::RegularGrid grid = read_text(
      "gridtype = lonlat\ngridsize = 6\nxsize = 3\nysize = 2\nxname = lon\n"
      "xvals = 358 0\n        2\nyvals = 50 40\nybounds = 55 45 45 30\n");
  EXPECT_EQ(grid.latitudes, (std::vector<double>{40, 50}));
  EXPECT_EQ(grid.latitude_edges, (std::vector<double>{30, 45, 55}));
  EXPECT_EQ(grid.longitudes, (std::vector<double>{358, 360, 362}));
  EXPECT_TRUE(grid.longitude_edges.empty());
  // The bounds of each cell against the direction of the axis.
  EXPECT_EQ(read_text("gridtype=lonlat\nxsize=2\nysize=2\nxvals=0 1\nyvals=50 40\n"
                      "ybounds = 45 55 30 45\n")
                .latitude_edges,
            grid.latitude_edges);
}

TEST_F(GridDescription, GaussianLatitudesAreComputed) {
  const ops::RegularGrid grid = read_text("gridtype = gaussian\nxsize = 64\nysize = 32\n");
  EXPECT_EQ(grid, ops::gaussian_grid(32, 64));
  const ops::RegularGrid listed =
      read_text("gridtype = gaussian\nxsize = 8\nysize = 2\nyvals = 30 -30\n");
  EXPECT_EQ(listed.latitudes, (std::vector<double>{-30, 30}));
  EXPECT_EQ(listed.longitudes[1], 45);
}

TEST_F(GridDescription, BadTextIsRefused) {
  expect_refused("", "is an empty file");
  expect_refused("hello\n", "neither NetCDF nor");
  expect_refused("gridtype = curvilinear\n", "gridtype is 'curvilinear'");
  expect_refused("xsize = 3\n", "gridtype is ''");
  expect_refused("gridtype = lonlat\nxsize = 3\n", "lacks 'ysize'");
  expect_refused("gridtype = lonlat\nxsize = 3\nysize = 1e12\n", "ysize");
  expect_refused("gridtype = lonlat\nysize = 2\nyvals = 1 2 3\n", "yvals has 3 values");
  expect_refused("gridtype = lonlat\nysize = 2\nyvals = 1 x\n", "'x' is not a number");
  expect_refused("gridtype = lonlat\ngridtype = lonlat\n", "twice");
  expect_refused("gridtype=lonlat\nxsize=2\nysize=3\nxvals=0 1\nyvals=0 2 1\n", "monotone");
  expect_refused("gridtype=lonlat\nxsize=2\nysize=2\nxvals=0 1\nyvals=0 95\n", "-90 .. 90");
  expect_refused("gridtype=lonlat\nxsize=2\nysize=2\nxvals=0 1\nyvals=0 2\nybounds=-1 1 2 3\n",
                 "do not meet");
}

TEST_F(GridDescription, NetcdfWithoutAnyField) {
  {
    test::NetcdfWriter file(dir_.file("grid.nc"));
    const int lat = file.dimension("y", 2), lon = file.dimension("x", 3);
    const int two = file.dimension("nv", 2);
    const int lat_v = file.define("rows", NC_FLOAT, {lat});
    file.attribute(lat_v, "units", "degrees_north");
    file.attribute(lat_v, "bounds", "rows_bnds");
    const int bounds = file.define("rows_bnds", NC_DOUBLE, {lat, two});
    const int lon_v = file.define("columns", NC_DOUBLE, {lon});
    file.attribute(lon_v, "standard_name", "longitude");
    file.write(lat_v, {10, -10});
    file.write(bounds, {20, 5, 5, -20});
    file.write(lon_v, {-10, 0, 10});
  }
  const ops::RegularGrid grid = read_grid_description(dir_.file("grid.nc"));
  EXPECT_EQ(grid.latitudes, (std::vector<double>{-10, 10}));
  EXPECT_EQ(grid.latitude_edges, (std::vector<double>{-20, 5, 20}));
  EXPECT_EQ(grid.longitudes, (std::vector<double>{-10, 0, 10}));
}

TEST_F(GridDescription, NetcdfWithCurvedRowsIsRefused) {
  {
    test::NetcdfWriter file(dir_.file("grid.nc"));
    const int y = file.dimension("y", 2), x = file.dimension("x", 2);
    const int lat = file.define("lat", NC_DOUBLE, {y, x});
    file.write(lat, {0, 0, 1, 1});
  }
  try {
    read_grid_description(dir_.file("grid.nc"));
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("latitude lat has 2 axes"));
  }
}

TEST(GridDescriptionOfRealFiles, WeatherbenchConstantsAndText) {
  TRIB_NEEDS_DATA("era5/weatherbench_constants_5.625deg.nc");
  const ops::RegularGrid expected = ops::weatherbench_grid(5.625);
  EXPECT_EQ(read_grid_description(test::data_file("era5/weatherbench_constants_5.625deg.nc")),
            expected);
  EXPECT_EQ(read_grid_description(
                test::data_file("era5/reference_regrid_cdo/weatherbench_5.625deg.grid")),
            expected);
  // A transposed file on a Gaussian grid.
  const ops::RegularGrid gaussian =
      read_grid_description(test::data_file("era5/era5_tl31_37lev_19590102T00.nc"));
  const ops::RegularGrid computed = ops::gaussian_grid(32, 64);
  ASSERT_EQ(gaussian.latitudes.size(), 32u);
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_NEAR(gaussian.latitudes[i], computed.latitudes[i], 1e-3);
  }
  EXPECT_THROW(read_grid_description(test::data_file("era5/era5_cds_zip_misnamed.nc")), DataError);
  EXPECT_THROW(read_grid_description("/nowhere/grid.nc"), DataError);
}

}  // namespace
}  // namespace trib::io
