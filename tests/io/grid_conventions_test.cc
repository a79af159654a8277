// The many ways to write a grid down: files written here, one oddity each.
#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/grid/grid_source.h"
#include "ops/base/error.h"
#include "tests/io/netcdf_writer.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using test::NetcdfWriter;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsNan;

class GridConventions : public testing::Test {
 protected:
  std::string path() const { return folder_.file("a.nc"); }
  std::unique_ptr<GridSource> open(std::vector<std::string> channels = {}) const {
    GridOptions options;
    options.files = {path()};
    options.channels = std::move(channels);
    options.allow_empty_fields = true;
    return open_grid(options);
  }
  std::string error() const {
    try {
      open();
    } catch (const DataError& e) {
      return e.what();
    }
    return "no DataError";
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    const auto source = open();
    for (const Channel& c : source->channels()) found.push_back(c.name);
    return found;
  }
  static std::vector<float> values(const GridSource& source, std::int64_t index = 0) {
    const Image image = source.read(index);
    return {image.data_cyx.data<float>(), image.data_cyx.data<float>() + image.data_cyx.numel()};
  }

  // Two latitudes and two longitudes under any names.
  struct Grid {
    int y, x;
  };
  static Grid write_grid(NetcdfWriter& file, const std::string& y = "lat",
                         const std::string& x = "lon") {
    const Grid grid{file.dimension(y, 2), file.dimension(x, 2)};
    const int y_v = file.define(y, NC_DOUBLE, {grid.y}), x_v = file.define(x, NC_DOUBLE, {grid.x});
    file.attribute(y_v, "units", "degrees_north");
    file.attribute(x_v, "units", "degrees_east");
    file.write(y_v, {0, 1});
    file.write(x_v, {10, 20});
    return grid;
  }

  test::TempDir folder_;
};

TEST_F(GridConventions, AxesAreFoundByTheirAttributes) {
  {
    NetcdfWriter file(path());
    const int x = file.dimension("x", 2), t = file.dimension("t", 2), y = file.dimension("y", 2);
    const int x_v = file.define("x", NC_FLOAT, {x});
    file.attribute(x_v, "units", "degree_E");
    const int y_v = file.define("y", NC_FLOAT, {y});
    file.attribute(y_v, "units", "degrees");
    file.attribute(y_v, "axis", "Y");
    const int t_v = file.define("t", NC_DOUBLE, {t});
    file.attribute(t_v, "units", "days since 2000-01-01");
    const int text = file.define("label", NC_CHAR, {t, y, x});
    static_cast<void>(text);
    const int bounds = file.dimension("nv", 2);
    file.define("y_bounds", NC_FLOAT, {y, bounds});
    const int v = file.define("air_temperature", NC_SHORT, {x, t, y});
    file.write(x_v, {3, 1});
    file.write(y_v, {5, 6});
    file.write(t_v, {0, 0.25});
    file.write(v, {0, 1, 2, 3, 4, 5, 6, 7});
  }
  const auto source = open();
  EXPECT_THAT(names(), ElementsAre("air_temperature"));
  EXPECT_THAT(source->grid()->longitudes, ElementsAre(1, 3));
  ASSERT_EQ(source->size(), 2);
  EXPECT_EQ(source->times()[1] - source->times()[0], 6 * 3600);
  EXPECT_THAT(values(*source, 1), ElementsAre(6, 2, 7, 3));
}

// 1-D latitudes and longitudes beside projected coordinates of the axes.
TEST_F(GridConventions, AuxiliaryCoordinates) {
  {
    NetcdfWriter file(path());
    const int y = file.dimension("y", 2), x = file.dimension("x", 2);
    const int y_v = file.define("y", NC_FLOAT, {y});
    file.attribute(y_v, "standard_name", "projection_y_coordinate");
    const int lat = file.define("lat", NC_FLOAT, {y});
    const int lon = file.define("lon", NC_FLOAT, {x});
    const int v = file.define("sp", NC_FLOAT, {y, x});
    file.write(y_v, {1e5, 2e5});
    file.write(lat, {50, 51});
    file.write(lon, {7, 8});
    file.write(v, {1, 2, 3, 4});
  }
  EXPECT_THAT(open()->grid()->latitudes, ElementsAre(50, 51));
}

TEST_F(GridConventions, CurvedAndScatteredGridsAreRefused) {
  {
    NetcdfWriter file(path());
    const int y = file.dimension("y", 2), x = file.dimension("x", 2);
    file.define("lat", NC_FLOAT, {y, x});
    file.define("lon", NC_FLOAT, {y, x});
    file.define("sp", NC_FLOAT, {y, x});
  }
  EXPECT_THAT(error(), HasSubstr("lat is a field of 2 axes, as on curved or rotated grids"));
  {
    NetcdfWriter file(path());
    const int cell = file.dimension("cell", 5);
    file.define("lat", NC_FLOAT, {cell});
    file.define("lon", NC_FLOAT, {cell});
    file.define("sp", NC_FLOAT, {cell});
  }
  EXPECT_THAT(error(), HasSubstr("latitudes and longitudes both lie along cell"));
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file);
    file.define("sp", NC_FLOAT, {grid.y, grid.x});
    file.write(0, {80, 95});
  }
  EXPECT_THAT(error(), HasSubstr("latitude 95 lies beyond the poles"));
}

TEST_F(GridConventions, OtherGridsOfAFileAreLeftOut) {
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file), other = write_grid(file, "lat_2", "lon_2");
    file.define("sp", NC_FLOAT, {grid.y, grid.x});
    file.define("t2m", NC_FLOAT, {other.y, other.x});
  }
  EXPECT_THAT(names(), ElementsAre("sp"));
  const auto facts = inspect_file(path()).facts;
  EXPECT_THAT(facts,
              testing::Contains(testing::Pair(
                  "left out", "t2m: lies on another grid of the file, along lat_2 and lon_2")));
}

TEST_F(GridConventions, LevelsHaveHonestNames) {
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file);
    const auto axis = [&](const std::string& name, const std::vector<double>& levels,
                          const std::string& attribute, const std::string& value) {
      const int d = file.dimension(name, levels.size());
      const int v = file.define(name, NC_DOUBLE, {d});
      if (!attribute.empty()) file.attribute(v, attribute, value);
      file.write(v, levels);
      return d;
    };
    const int hybrid = axis("hybrid", {136, 137}, "long_name", "hybrid level");
    const int sigma =
        axis("lev", {0.99, 0.5}, "standard_name", "atmosphere_hybrid_sigma_pressure_coordinate");
    const int plev = axis("plev", {100000, 50000}, "", "");
    const int millibars = axis("level", {850}, "units", "millibars");
    const int depth = axis("depth", {0.07, 1.5}, "positive", "down");
    const int band = axis("wavelength", {550, 860}, "units", "nm");
    const int step = axis("step", {0, 6}, "units", "hours");
    const int unknown = file.dimension("tile", 3);
    file.define("t", NC_FLOAT, {hybrid, grid.y, grid.x});
    file.define("q", NC_FLOAT, {sigma, grid.y, grid.x});
    file.define("u", NC_FLOAT, {plev, grid.y, grid.x});
    file.define("z", NC_FLOAT, {grid.y, millibars, grid.x});
    file.define("st", NC_FLOAT, {depth, grid.y, grid.x});
    file.define("aod", NC_FLOAT, {band, grid.y, grid.x});
    file.define("tp", NC_FLOAT, {step, grid.y, grid.x});
    file.define("frac", NC_FLOAT, {unknown, grid.y, grid.x});
  }
  EXPECT_THAT(names(),
              ElementsAre("t_l136", "t_l137", "q_l1", "q_l2", "u_1000", "u_500", "z_850",
                          "st_depth0.07", "st_depth1.5", "aod_wavelength550", "aod_wavelength860"));
  const auto some = open({"temperature_l137", "t@l136", "st_depth1.5", "*_500", "u@1000"});
  EXPECT_EQ(some->channels().size(), 5U);
  EXPECT_THAT(some->channels()[0].level_hpa, IsNan());
  EXPECT_EQ(some->channels()[4].level_hpa, 1000);
  EXPECT_THROW(open({"t@137"}), ConfigError);
  EXPECT_THROW(open({"t_"}), ConfigError);
  const auto facts = inspect_file(path()).facts;
  EXPECT_THAT(facts, testing::Contains(testing::Pair(
                         "left out",
                         "tp: axis step counts the steps of forecasts, which cannot be "
                         "told from their times")));
  EXPECT_THAT(facts, testing::Contains(testing::Pair("left out", "frac: unknown axis tile")));
}

// Forecasts are dated by the time they are valid at.
TEST_F(GridConventions, ValidTimeGoesBeforeReferenceTime) {
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file);
    const int time = file.dimension("time", 2), step = file.dimension("step", 1);
    const int time_v = file.define("time", NC_INT64, {time});
    file.attribute(time_v, "units", "hours since 2000-01-01");
    file.attribute(time_v, "standard_name", "forecast_reference_time");
    const int valid = file.define("valid_time", NC_INT64, {time, step});
    file.attribute(valid, "units", "hours since 2000-01-01");
    file.attribute(valid, "standard_name", "time");
    const int number = file.define("number", NC_INT64, {});
    file.define("t2m", NC_FLOAT, {time, step, grid.y, grid.x});
    file.write(time_v, {0, 12});
    file.write(valid, {6, 18});
    file.write(number, {0});
  }
  const auto source = open();
  EXPECT_THAT(source->times(), ElementsAre(946684800 + 6 * 3600, 946684800 + 18 * 3600));
  EXPECT_EQ(source->num_members(), 1);
}

TEST_F(GridConventions, StepsOfOneForecastAreTimes) {
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file);
    const int start = file.dimension("forecast_reference_time", 1);
    const int period = file.dimension("forecast_period", 3);
    const int start_v = file.define("forecast_reference_time", NC_INT64, {start});
    file.attribute(start_v, "units", "seconds since 1970-01-01");
    file.attribute(start_v, "standard_name", "forecast_reference_time");
    const int period_v = file.define("forecast_period", NC_DOUBLE, {period});
    file.attribute(period_v, "units", "hours");
    file.attribute(period_v, "standard_name", "forecast_period");
    const int valid = file.define("valid_time", NC_INT64, {period, start});
    file.attribute(valid, "units", "seconds since 1970-01-01");
    file.attribute(valid, "standard_name", "time");
    const int v = file.define("t2m", NC_FLOAT, {period, start, grid.y, grid.x});
    file.write(start_v, {0});
    file.write(period_v, {0, 6, 12});
    file.write(valid, {0, 21600, 43200});
    file.write(v, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  }
  const auto source = open();
  EXPECT_THAT(source->times(), ElementsAre(0, 21600, 43200));
  EXPECT_THAT(values(*source, 2), ElementsAre(8, 9, 10, 11));
}

TEST_F(GridConventions, GroupsAreSearched) {
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file);
    const int root = file.define("sp", NC_FLOAT, {grid.y, grid.x});
    file.write(root, {1, 2, 3, 4});
    file.enter_group("forecast");
    const int t2m = file.define("t2m", NC_FLOAT, {grid.y, grid.x});
    const int twin = file.define("sp", NC_FLOAT, {grid.y, grid.x});
    file.write(t2m, {5, 6, 7, 8});
    file.write(twin, {9, 10, 11, 12});
  }
  EXPECT_THAT(names(), ElementsAre("sp", "t2m", "forecast/sp"));
  EXPECT_THAT(values(*open()), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
}

TEST_F(GridConventions, PackingAndValidity) {
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file);
    const auto variable = [&](const std::string& name, nc_type type) {
      return file.define(name, type, {grid.y, grid.x});
    };
    // Unsigned bytes: 1, 128, 255 (missing), 200 (not valid).
    const int a = variable("a", NC_BYTE);
    file.attribute(a, "_Unsigned", "true");
    file.attribute(a, "_FillValue", NC_BYTE, -1);
    file.attribute(a, "valid_range", NC_BYTE, {0, -57});
    file.attribute(a, "scale_factor", NC_DOUBLE, 0.5);
    // A range of unpacked values, in their type, and a negative scale.
    const int b = variable("b", NC_SHORT);
    file.attribute(b, "scale_factor", NC_DOUBLE, -0.1);
    file.attribute(b, "add_offset", NC_DOUBLE, 100);
    file.attribute(b, "valid_min", NC_DOUBLE, 99.5);
    file.attribute(b, "valid_max", NC_DOUBLE, 100);
    // Of packed ones.
    const int c = variable("c", NC_SHORT);
    file.attribute(c, "scale_factor", NC_FLOAT, 2);
    file.attribute(c, "valid_max", NC_SHORT, 10);
    file.attribute(c, "missing_value", NC_DOUBLE, {3, 7});
    // NaN as fill of an integer fills nothing.
    const int d = variable("d", NC_INT);
    file.attribute(d, "missing_value", NC_DOUBLE, NAN);
    file.attribute(d, "missing_text", "none");
    const int e = variable("e", NC_UBYTE);
    file.attribute(e, "_Unsigned", "false");
    // Elements never written.
    file.write(variable("f", NC_SHORT), {-32767, -32768, 32767, 0});
    file.write(variable("g", NC_BYTE), {-127, -128, 127, 0});
    file.write(a, {1, -128, -1, -56});
    file.write(b, {0, 5, 6, -1});
    file.write(c, {3, 7, 10, 11});
    file.write(d, {0, -1, 2147483647, -2147483647});
    file.write(e, {0, 127, 128, 255});
  }
  const auto all = values(*open());
  const auto of = [&](std::size_t c) {
    return std::vector<float>(all.begin() + static_cast<std::ptrdiff_t>(4 * c),
                              all.begin() + static_cast<std::ptrdiff_t>(4 * c + 4));
  };
  EXPECT_THAT(of(0), ElementsAre(0.5F, 64.0F, IsNan(), IsNan()));
  EXPECT_THAT(of(1), ElementsAre(100.0F, 99.5F, IsNan(), IsNan()));
  EXPECT_THAT(of(2), ElementsAre(IsNan(), IsNan(), 20.0F, IsNan()));
  EXPECT_THAT(of(3), ElementsAre(0.0F, -1.0F, 2147483648.0F, -2147483648.0F));
  EXPECT_THAT(of(4), ElementsAre(0.0F, 127.0F, -128.0F, -1.0F));
  EXPECT_THAT(of(5), ElementsAre(IsNan(), -32768.0F, 32767.0F, 0.0F));
  EXPECT_THAT(of(6), ElementsAre(-127.0F, -128.0F, 127.0F, 0.0F));
}

TEST_F(GridConventions, ModelCalendars) {
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file);
    const int time = file.dimension("time", 3);
    const int time_v = file.define("time", NC_DOUBLE, {time});
    file.attribute(time_v, "units", "days since 2000-02-28");
    file.attribute(time_v, "calendar", "noleap");
    file.define("t2m", NC_FLOAT, {time, grid.y, grid.x});
    file.write(time_v, {0, 1, 2});
  }
  const auto source = open();
  EXPECT_EQ(source->calendar(), Calendar::no_leap);
  EXPECT_EQ(source->gaps(), "");  // the model has no 29 February
  EXPECT_EQ(source->times()[1] - source->times()[0], 86400);
  EXPECT_EQ(format_time(source->provenance(1).time), "2000-03-01T00:00Z");
  GridOptions options;
  options.files = {path()};
  options.times = {"2000-03"};
  EXPECT_EQ(open_grid(options)->size(), 2);
  options.times = {"2000-02-29"};
  EXPECT_THROW(open_grid(options), ConfigError);
}

TEST_F(GridConventions, EmptyAxesAreReported) {
  {
    NetcdfWriter file(path());
    const Grid grid = write_grid(file);
    const int time = file.dimension("time", NC_UNLIMITED);
    const int time_v = file.define("time", NC_DOUBLE, {time});
    file.attribute(time_v, "units", "days since 2000-02-28");
    file.define("t2m", NC_FLOAT, {time, grid.y, grid.x});
  }
  EXPECT_THAT(error(), HasSubstr("its axis of time is empty"));
}

}  // namespace
}  // namespace trib::io
