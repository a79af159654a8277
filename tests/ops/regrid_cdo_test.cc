// Regridding compared with CDO, and with what CDO made of real files.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <netcdf.h>

#include "ops/base/error.h"
#include "ops/regrid/regrid_weights.h"
#include "tests/ops/regrid_testing.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::ops {
namespace {

void write_netcdf(const std::string& path, const RegularGrid& grid,
                  const std::vector<float>& field) {
  int file = 0, latitude = 0, longitude = 0, variable = 0;
  int dimensions[2];
  check_netcdf(nc_create(path.c_str(), NC_CLOBBER | NC_64BIT_OFFSET, &file), path);
  nc_def_dim(file, "lat", grid.latitudes.size(), &dimensions[0]);
  nc_def_dim(file, "lon", grid.longitudes.size(), &dimensions[1]);
  nc_def_var(file, "lat", NC_DOUBLE, 1, &dimensions[0], &latitude);
  nc_def_var(file, "lon", NC_DOUBLE, 1, &dimensions[1], &longitude);
  nc_put_att_text(file, latitude, "units", 13, "degrees_north");
  nc_put_att_text(file, longitude, "units", 12, "degrees_east");
  nc_def_var(file, "field", NC_DOUBLE, 2, dimensions, &variable);
  const double fill = std::nan("");
  nc_put_att_double(file, variable, "_FillValue", NC_DOUBLE, 1, &fill);
  check_netcdf(nc_enddef(file), path);
  nc_put_var_double(file, latitude, grid.latitudes.data());
  nc_put_var_double(file, longitude, grid.longitudes.data());
  nc_put_var_float(file, variable, field.data());
  check_netcdf(nc_close(file), path);
}

/// Regrid `field` with an operator of CDO ("remapbil") in double precision. Missing values go in as
/// NaN and come out as NaN.
std::vector<double> cdo_regrid(const std::string& method, const RegularGrid& source,
                               const RegularGrid& target, const std::vector<float>& field) {
  const test::TempDir dir;
  write_netcdf(dir.file("in.nc"), source, field);
  std::ofstream grid(dir.file("target.grid"));
  grid.precision(17);
  grid << "gridtype = lonlat\nxsize = " << target.longitudes.size()
       << "\nysize = " << target.latitudes.size() << "\nxvals =";
  for (const double longitude : target.longitudes) grid << ' ' << longitude;
  grid << "\nyvals =";
  for (const double latitude : target.latitudes) grid << ' ' << latitude;
  grid << '\n';
  grid.close();
  const std::string command = "cdo -s -P 1 -b F64 " + method + "," + dir.file("target.grid") + " " +
                              dir.file("in.nc") + " " + dir.file("out.nc");
  if (std::system(command.c_str()) != 0) throw RuntimeError("failed: " + command);
  return read_netcdf(dir.file("out.nc"), "field");
}

void expect_equal(const std::vector<float>& out, const std::vector<double>& expected,
                  double tolerance) {
  ASSERT_EQ(out.size(), expected.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_EQ(std::isnan(out[i]), std::isnan(expected[i])) << "target " << i;
    if (std::isnan(out[i])) continue;
    ASSERT_NEAR(out[i], expected[i], tolerance) << "target " << i;
  }
}

void expect_as_cdo(const RegularGrid& source, const RegularGrid& target,
                   RegridMethod method = RegridMethod::bilinear) {
  const std::string name = method == RegridMethod::bilinear  ? "remapbil"
                           : method == RegridMethod::nearest ? "remapnn"
                                                             : "remapcon";
  const auto field = sample(source, wave);
  const auto out = regridded(regrid_weights(source, target, method), field);
  expect_equal(out, cdo_regrid(name, source, target, field), 3e-4);
}

#define TRIB_NEEDS_CDO()                                                               \
  if (std::system("cdo --version >/dev/null 2>&1") != 0) {                             \
    std::cerr << "\n*** cdo IS NOT INSTALLED: nothing is compared with it here ***\n"; \
    GTEST_SKIP() << "cdo is not installed";                                            \
  }

TEST(RegridAgainstCdo, Era5ToWeatherbench) {
  TRIB_NEEDS_CDO();
  expect_as_cdo(era5_grid(), weatherbench_grid(5.625));
  expect_as_cdo(era5_grid(), weatherbench_grid(1.40625));
}

TEST(RegridAgainstCdo, SourceFromMinus180) {
  TRIB_NEEDS_CDO();
  expect_as_cdo({steps(-90, 0.75, 241), steps(-180, 0.75, 480)}, weatherbench_grid(2.8125));
}

TEST(RegridAgainstCdo, BeyondTheRowsOfAGridWithoutPoles) {
  TRIB_NEEDS_CDO();
  expect_as_cdo(weatherbench_grid(5.625), {steps(-89.8, 1.1, 164), steps(0.3, 1.7, 211)});
}

TEST(RegridAgainstCdo, ConservativeMeans) {
  TRIB_NEEDS_CDO();
  constexpr auto kMethod = RegridMethod::conservative;
  expect_as_cdo(era5_grid(), weatherbench_grid(5.625), kMethod);
  expect_as_cdo({steps(-90, 0.75, 241), steps(-180, 0.75, 480)}, weatherbench_grid(2.8125),
                kMethod);
  // To a finer grid, and to a region that steps over the first meridian.
  expect_as_cdo(weatherbench_grid(5.625), global_grid(91, 180, true), kMethod);
  expect_as_cdo(global_grid(91, 180, true), {steps(30.3, 1.7, 20), steps(-20.1, 1.3, 40)}, kMethod);
}

TEST(RegridAgainstCdo, NearestPoints) {
  TRIB_NEEDS_CDO();
  constexpr auto kMethod = RegridMethod::nearest;
  // Every second longitude lies midway between two columns, every latitude off the rows.
  expect_as_cdo({steps(-90, 0.25, 721), steps(0, 0.25, 1440)}, weatherbench_grid(5.625), kMethod);
  // Towards the poles a row farther off in latitude may be nearer on the sphere. The points of a
  // pole are all equally near, which CDO leaves to rounding: targets nearest to them are left out.
  expect_as_cdo(global_grid(19, 36, true), {steps(-84.6, 0.99, 171), steps(0.3, 2.3, 150)},
                kMethod);
  expect_as_cdo({steps(90, -10, 19), steps(-180, 10, 36)}, {steps(-75, 10, 16), steps(5, 10, 36)},
                kMethod);
}

TEST(RegridAgainstCdo, ConservativeMeansOfWhatIsNotMissing) {
  TRIB_NEEDS_CDO();
  const RegularGrid source = global_grid(91, 180, true);
  const RegularGrid target = weatherbench_grid(5.625);
  const auto field = sample(source, [](double latitude, double longitude) -> double {
    return std::sin(latitude / 7) + std::cos(longitude / 11) > 0.7 ? kNan
                                                                   : wave(latitude, longitude);
  });
  const auto weights = regrid_weights(source, target, RegridMethod::conservative);
  const auto expected = cdo_regrid("remapcon", source, target, field);
  expect_equal(regridded(weights, field, 1, {.renormalise = true}), expected, 3e-4);
}

TEST(RegridAgainstCdo, ConservativeMeansOfARegion) {
  TRIB_NEEDS_CDO();
  const RegularGrid source{steps(10, 1, 31), steps(-30, 1, 51)};
  const RegularGrid target{steps(2.5, 5, 10), steps(-42.5, 5, 18)};
  const auto field = sample(source, wave);
  EXPECT_THROW(regrid_weights(source, target, RegridMethod::conservative), ConfigError);
  const auto weights = regrid_weights(source, target, RegridMethod::conservative, true);
  expect_equal(regridded(weights, field, 1, {.renormalise = true}),
               cdo_regrid("remapcon", source, target, field), 3e-4);
}

void expect_as_reference(RegridMethod method, const std::string& name, double tolerance) {
  const std::string path = test::data_file("era5/era5_t2m_global_0p25_cds_2019.nc");
  const auto values = read_netcdf(path, "t2m");
  std::vector<float> field(values.begin(), values.end());
  RegularGrid source{read_netcdf(path, "latitude"), read_netcdf(path, "longitude")};
  const auto out = regridded(regrid_weights(source, weatherbench_grid(5.625), method), field);
  const auto expected =
      read_netcdf(test::data_file("era5/reference_regrid_cdo/t2m_5.625deg_" + name + ".nc"), "t2m");
  const auto [low, high] = std::minmax_element(expected.begin(), expected.end());
  expect_equal(out, expected, tolerance * (*high - *low));
}

TEST(RegridAgainstCdo, RealTemperature) {
  TRIB_NEEDS_DATA("era5/era5_t2m_global_0p25_cds_2019.nc");
  expect_as_reference(RegridMethod::bilinear, "remapbil", 1e-6);
  expect_as_reference(RegridMethod::conservative, "remapcon", 1e-5);
  expect_as_reference(RegridMethod::nearest, "remapnn", 1e-6);
}

TEST(RegridAgainstCdo, RealSeaSurface) {
  TRIB_NEEDS_CDO();
  TRIB_NEEDS_DATA("era5/noaa_ersst_mnmean_2010_2020.nc");
  const std::string path = test::data_file("era5/noaa_ersst_mnmean_2010_2020.nc");
  const RegularGrid source{read_netcdf(path, "lat"), read_netcdf(path, "lon")};
  const auto values = read_netcdf(path, "sst");
  const std::vector<float> field(values.begin(), values.begin() + source.size());
  const RegularGrid target = weatherbench_grid(5.625);
  const auto weights = regrid_weights(source, target, RegridMethod::conservative);
  expect_equal(regridded(weights, field, 1, {.renormalise = true}),
               cdo_regrid("remapcon", source, target, field), 3e-5);
  const auto bilinear = regrid_weights(source, target, RegridMethod::bilinear);
  auto out = regridded(bilinear, field);
  const auto expected = cdo_regrid("remapbil", source, target, field);
  // A target on an edge between points takes nothing from the others: CDO has it missing if one of
  // those is.
  int missing_in_cdo_only = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!std::isnan(expected[i]) || std::isnan(out[i])) continue;
    ++missing_in_cdo_only;
    EXPECT_EQ(std::fmod(target.longitudes[i % 64], 2.0), 0) << i;
    out[i] = kNan;
  }
  EXPECT_LT(missing_in_cdo_only, 30);
  expect_equal(out, expected, 3e-5);
}

}  // namespace
}  // namespace trib::ops
