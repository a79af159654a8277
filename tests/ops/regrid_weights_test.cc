#include "ops/regrid/regrid_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <netcdf.h>

#include "ops/base/error.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::ops {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<double> steps(double first, double step, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = first + step * static_cast<double>(i);
  return values;
}

/// The grid of ERA5 at 0.25 degrees: latitudes descending, poles included.
RegularGrid era5_grid() {
  return {steps(90, -0.25, 721), steps(0, 0.25, 1440)};
}

/// Smooth, periodic, different at every point.
double wave(double latitude, double longitude) {
  constexpr double kRadians = M_PI / 180;
  return 280 + 30 * std::cos(latitude * kRadians) +
         5 * std::sin(3 * longitude * kRadians) * std::cos(2 * latitude * kRadians) +
         2 * std::cos(40 * longitude * kRadians + latitude);
}

template <class Function>
std::vector<float> sample(const RegularGrid& grid, const Function& function) {
  std::vector<float> field;
  for (const double latitude : grid.latitudes) {
    for (const double longitude : grid.longitudes) {
      field.push_back(static_cast<float>(function(latitude, longitude)));
    }
  }
  return field;
}

std::vector<float> regridded(const RegridWeights& weights, const std::vector<float>& in,
                             std::int64_t fields = 1) {
  std::vector<float> out(static_cast<std::size_t>(fields * weights.target_size), kNan);
  weights.apply(out.data(), in.data(), fields);
  return out;
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
  const std::vector<float> out = regridded(bilinear_weights(source, target), field);
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
  const auto expected = regridded(bilinear_weights(plain, target), sample(plain, wave));
  RegularGrid other = plain;
  std::reverse(other.latitudes.begin(), other.latitudes.end());
  std::rotate(other.longitudes.begin(), other.longitudes.begin() + 60, other.longitudes.end());
  const auto rotated = regridded(bilinear_weights(other, target), sample(other, wave));
  std::reverse(other.longitudes.begin(), other.longitudes.end());
  const auto reversed = regridded(bilinear_weights(other, target), sample(other, wave));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(rotated[i], expected[i], 1e-4);
    EXPECT_NEAR(reversed[i], expected[i], 1e-4);
  }
}

TEST(RegridWeights, ConstantsAreExact) {
  for (const double degrees : {1.40625, 2.8125, 5.625}) {
    const RegridWeights weights = bilinear_weights(era5_grid(), weatherbench_grid(degrees));
    const auto out = regridded(weights, std::vector<float>(721 * 1440, 273.16f));
    for (const float value : out) ASSERT_EQ(value, 273.16f);
  }
}

TEST(RegridWeights, FieldsLinearInLatitudeAreExact) {
  const RegularGrid target{{-89.875, -12.3125, 0.0625, 45, 89.9375}, {0.1, 200.7, 359.9}};
  const auto linear = [](double latitude, double) { return 250 + 0.5 * latitude; };
  const auto out = regridded(bilinear_weights(era5_grid(), target), sample(era5_grid(), linear));
  const auto expected = sample(target, linear);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_FLOAT_EQ(out[i], expected[i]);
}

TEST(RegridWeights, WrapFromTheLastColumnToTheFirst) {
  const RegularGrid source{{-1, 1}, steps(0, 0.25, 1440)};
  std::vector<float> field(source.longitudes.size() * 2, 0.0f);
  field[0] = field[1440] = 1;  // longitude 0
  for (const double turns : {-360.0, 0.0, 360.0}) {
    const RegularGrid target{{0}, {359.75 + turns, 359.8125 + turns, 359.9375 + turns}};
    const auto out = regridded(bilinear_weights(source, target), field);
    EXPECT_EQ(out, (std::vector<float>{0.0f, 0.25f, 0.75f}));
  }
}

TEST(RegridWeights, FileThatRepeatsItsFirstColumn) {
  const RegularGrid source{{-1, 1}, steps(0, 90, 5)};  // 0 .. 360
  const auto out =
      regridded(bilinear_weights(source, {{0}, {-45, 315, 360}}), {1, 2, 3, 4, 1, 1, 2, 3, 4, 1});
  EXPECT_EQ(out, (std::vector<float>{2.5f, 2.5f, 1.0f}));
}

TEST(RegridWeights, HoldNoLinkOfWeightZero) {
  const RegularGrid grid{steps(-90, 30, 7), steps(0, 30, 12)};
  const RegridWeights same = bilinear_weights(grid, grid);
  EXPECT_EQ(same.weights, std::vector<double>(84, 1.0));
  std::vector<std::int32_t> identity(84);
  std::iota(identity.begin(), identity.end(), 0);
  EXPECT_EQ(same.columns, identity);
  // A latitude that went through single precision still meets its row.
  RegularGrid rounded = grid;
  for (double& latitude : rounded.latitudes) latitude += 1e-5;
  EXPECT_EQ(bilinear_weights(rounded, grid).columns, identity);
}

TEST(RegridWeights, NanSpreadsOnlyAlongContributingLinks) {
  const RegularGrid source{{0, 1, 2}, {0, 1, 2}};
  const std::vector<float> field{0, 1, 2, 3, kNan, 5, 6, 7, 8};
  const auto out = regridded(bilinear_weights(source, {{0, 0.5, 1, 2}, {0, 0.5, 1, 2}}), field);
  const std::vector<bool> is_nan{false, false, false, false, false, true,  true,  false,
                                 false, true,  true,  false, false, false, false, false};
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), is_nan[i]) << i;
}

TEST(RegridWeights, ManyFieldsEqualOneByOne) {
  const RegridWeights weights = bilinear_weights(era5_grid(), weatherbench_grid(5.625));
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
  const RegularGrid source{steps(-84, 12, 15), steps(0, 11.25, 32)};  // no poles
  const RegridWeights weights = bilinear_weights(source, weatherbench_grid(7.5));
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

TEST(RegridWeights, TargetsOutsideTheSourceAreRefused) {
  const RegularGrid regional{steps(40, 0.5, 21), steps(-10, 0.5, 41)};
  EXPECT_NO_THROW(bilinear_weights(regional, {{40, 50}, {350, 10}}));
  EXPECT_THROW(bilinear_weights(regional, {{50.2}, {0}}), ConfigError);
  EXPECT_THROW(bilinear_weights(regional, {{45}, {10.2}}), ConfigError);
  const RegularGrid band{steps(-60, 1, 121), steps(0, 1, 360)};
  EXPECT_NO_THROW(bilinear_weights(band, {{60.9, -61}, {0.5}}));
  EXPECT_THROW(bilinear_weights(band, {{61.1}, {0.5}}), ConfigError);
  EXPECT_THROW(bilinear_weights(band, {{std::nan("")}, {0.5}}), ConfigError);
  EXPECT_THROW(bilinear_weights(band, {{0}, {std::nan("")}}), ConfigError);
}

TEST(RegridWeights, SourcesThatAreNoGridAreRefused) {
  const RegularGrid target{{0}, {0}};
  EXPECT_THROW(bilinear_weights({{0, 1, 1}, {0, 1}}, target), ConfigError);
  EXPECT_THROW(bilinear_weights({{0, 1, 0.5}, {0, 1}}, target), ConfigError);
  EXPECT_THROW(bilinear_weights({{0}, {0, 1}}, target), ConfigError);
  EXPECT_THROW(bilinear_weights({{0, 91}, {0, 1}}, target), ConfigError);
  EXPECT_THROW(bilinear_weights({{0, 1}, steps(0, 90, 6)}, target), ConfigError);
}

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

TEST(RegridCache, ComputesEachPairOnce) {
  RegridCache cache;
  const auto first = cache.get(weatherbench_grid(5.625), weatherbench_grid(11.25));
  EXPECT_EQ(cache.get(weatherbench_grid(5.625), weatherbench_grid(11.25)), first);
  EXPECT_NE(cache.get(weatherbench_grid(5.625), weatherbench_grid(22.5)), first);
  EXPECT_THROW(cache.get({{0}, {0}}, weatherbench_grid(22.5)), ConfigError);
}

// Against CDO.

void check_netcdf(int status, const std::string& what) {
  if (status != NC_NOERR) throw DataError(what + ": " + nc_strerror(status));
}

/// A variable as doubles, unpacked.
std::vector<double> read_netcdf(const std::string& path, const std::string& name) {
  int file = 0, variable = 0, rank = 0;
  check_netcdf(nc_open(path.c_str(), NC_NOWRITE, &file), path);
  check_netcdf(nc_inq_varid(file, name.c_str(), &variable), path + ":" + name);
  std::vector<int> dimensions(NC_MAX_VAR_DIMS);
  check_netcdf(nc_inq_varndims(file, variable, &rank), path);
  check_netcdf(nc_inq_vardimid(file, variable, dimensions.data()), path);
  std::size_t size = 1;
  for (int axis = 0; axis < rank; ++axis) {
    std::size_t extent = 0;
    check_netcdf(nc_inq_dimlen(file, dimensions[static_cast<std::size_t>(axis)], &extent), path);
    size *= extent;
  }
  std::vector<double> values(size);
  check_netcdf(nc_get_var_double(file, variable, values.data()), path);
  double scale = 1, offset = 0;
  nc_get_att_double(file, variable, "scale_factor", &scale);
  nc_get_att_double(file, variable, "add_offset", &offset);
  for (double& value : values) value = value * scale + offset;
  nc_close(file);
  return values;
}

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
  check_netcdf(nc_enddef(file), path);
  nc_put_var_double(file, latitude, grid.latitudes.data());
  nc_put_var_double(file, longitude, grid.longitudes.data());
  nc_put_var_float(file, variable, field.data());
  check_netcdf(nc_close(file), path);
}

/// Interpolate `field` with CDO in double precision.
std::vector<double> cdo_remapbil(const RegularGrid& source, const RegularGrid& target,
                                 const std::vector<float>& field) {
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
  const std::string command = "cdo -s -P 1 -b F64 remapbil," + dir.file("target.grid") + " " +
                              dir.file("in.nc") + " " + dir.file("out.nc");
  if (std::system(command.c_str()) != 0) throw RuntimeError("failed: " + command);
  return read_netcdf(dir.file("out.nc"), "field");
}

void expect_as_cdo(const RegularGrid& source, const RegularGrid& target) {
  const auto field = sample(source, wave);
  const auto expected = cdo_remapbil(source, target, field);
  const auto out = regridded(bilinear_weights(source, target), field);
  ASSERT_EQ(out.size(), expected.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_NEAR(out[i], expected[i], 1e-6 * std::abs(expected[i])) << "target " << i;
  }
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

TEST(RegridAgainstCdo, RealTemperature) {
  TRIB_NEEDS_DATA("era5/era5_t2m_global_0p25_cds_2019.nc");
  const std::string path = test::data_file("era5/era5_t2m_global_0p25_cds_2019.nc");
  const auto values = read_netcdf(path, "t2m");
  const std::vector<float> field(values.begin(), values.end());
  const RegularGrid source{read_netcdf(path, "latitude"), read_netcdf(path, "longitude")};
  const auto out = regridded(bilinear_weights(source, weatherbench_grid(5.625)), field);
  const auto expected =
      read_netcdf(test::data_file("era5/reference_regrid_cdo/t2m_5.625deg_remapbil.nc"), "t2m");
  ASSERT_EQ(out.size(), expected.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_NEAR(out[i], expected[i], 1e-6 * expected[i]) << "target " << i;
  }
}

}  // namespace
}  // namespace trib::ops
