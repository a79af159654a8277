// Series made of several files, written here.
#include <cmath>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/grid/cf_time.h"
#include "io/grid/grid_source.h"
#include "ops/base/error.h"
#include "tests/io/netcdf_writer.h"

namespace trib::io {
namespace {

using test::GridFixture;
using test::NetcdfWriter;
using test::write_grid;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class GridSeriesTest : public testing::Test {
 protected:
  GridSeriesTest() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = testing::TempDir() + "grid_series_" + info->name() + "/";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~GridSeriesTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + name; }
  std::unique_ptr<GridSource> open(std::vector<std::string> channels = {}) const {
    GridOptions options;
    options.files = {folder_ + "*.nc"};
    options.channels = std::move(channels);
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

  std::string folder_;
};

TEST_F(GridSeriesTest, FilesAreJoinedAlongTime) {
  // The names sort the other way round than the times.
  write_grid(path("a.nc"), {.hours = {12, 18}, .start = 100});
  write_grid(path("b.nc"), {.hours = {0, 6}, .start = 0});
  const auto source = open();
  ASSERT_EQ(source->size(), 4);
  EXPECT_EQ(format_time(source->times()[3]), "2020-01-01T18:00Z");
  // Latitudes 10, 0, -10 come out ascending: the first row is the file's last.
  EXPECT_EQ(source->read(0).data_cyx.data<float>()[0], 8);
  EXPECT_EQ(source->read(1).data_cyx.data<float>()[0], 12 + 8);
  EXPECT_EQ(source->read(2).data_cyx.data<float>()[0], 100 + 8);
  EXPECT_EQ(source->read(3).data_cyx.data<float>()[11], 100 + 12 + 3);
  EXPECT_EQ(source->provenance(2).file, path("a.nc"));
}

TEST_F(GridSeriesTest, FilesAddChannels) {
  write_grid(path("a.nc"), {.variable = "t2m", .hours = {0, 6}});
  write_grid(path("b.nc"), {.variable = "2m_dewpoint_temperature", .hours = {0, 6}, .start = 50});
  const auto source = open({"d2m", "t2m"});
  ASSERT_EQ(source->size(), 2);
  const Image image = source->read(1);
  EXPECT_EQ(image.data_cyx.data<float>()[0], 50 + 12 + 8);
  EXPECT_EQ(image.data_cyx.data<float>()[12], 12 + 8);
}

TEST_F(GridSeriesTest, ConstantsAreRepeated) {
  write_grid(path("a.nc"), {.hours = {0, 6, 12}});
  {
    NetcdfWriter file(path("b.nc"));
    const int lat = file.dimension("lat", 3), lon = file.dimension("lon", 4);
    const int lat_v = file.define("lat", NC_FLOAT, {lat});
    const int lon_v = file.define("lon", NC_FLOAT, {lon});
    const int lsm = file.define("land_sea_mask", NC_BYTE, {lat, lon});
    file.write(lat_v, {-10, 0, 10});
    file.write(lon_v, {0, 90, 180, 270});
    file.write(lsm, {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0});
  }
  const auto source = open({"lsm", "t2m"});
  ASSERT_EQ(source->size(), 3);
  for (int i = 0; i < 3; ++i) {
    const Image image = source->read(i);
    EXPECT_EQ(image.data_cyx.data<float>()[2], 1);
    EXPECT_EQ(image.data_cyx.data<float>()[3], 0);
    EXPECT_EQ(image.data_cyx.data<float>()[12], 12 * i + 8);
  }
}

TEST_F(GridSeriesTest, OverlapsAndGapsAreReported) {
  write_grid(path("a.nc"), {.hours = {0, 6}});
  write_grid(path("b.nc"), {.hours = {6, 12}});
  EXPECT_THAT(error(), AllOf(HasSubstr("overlap: t2m at 2020-01-01T06:00Z"),
                             HasSubstr(path("a.nc")), HasSubstr(path("b.nc"))));
  write_grid(path("b.nc"), {.variable = "u10", .hours = {6, 12}});
  EXPECT_THAT(error(),
              HasSubstr("gap: t2m is missing at 1 of 3 times, first at 2020-01-01T12:00Z"));
  EXPECT_EQ(open({"u10"})->size(), 2);
}

TEST_F(GridSeriesTest, OtherGridsAreRefused) {
  write_grid(path("a.nc"), {.hours = {0}});
  write_grid(path("b.nc"), {.hours = {6}, .latitudes = {12, 0, -12}});
  EXPECT_THAT(error(), AllOf(HasSubstr(path("a.nc")), HasSubstr(path("b.nc")),
                             HasSubstr("latitudes [0] is -10 against -12")));
  write_grid(path("b.nc"), {.hours = {6}, .longitudes = {0, 120, 240}});
  EXPECT_THAT(error(), HasSubstr("4 against 3 longitudes"));
}

TEST_F(GridSeriesTest, EmptyFieldsAreRefused) {
  {
    NetcdfWriter file(path("a.nc"), NC_64BIT_OFFSET);
    const int time = file.dimension("time", NC_UNLIMITED);
    const int lat = file.dimension("lat", 2), lon = file.dimension("lon", 2);
    const int time_v = file.define("time", NC_INT, {time});
    file.attribute(time_v, "units", "days since 2020-01-01");
    const int lat_v = file.define("lat", NC_FLOAT, {lat});
    const int lon_v = file.define("lon", NC_FLOAT, {lon});
    const int v = file.define("t2m", NC_SHORT, {time, lat, lon});
    file.attribute(v, "_FillValue", NC_SHORT, -32767);
    file.attribute(v, "missing_value", NC_DOUBLE, 7);
    file.attribute(v, "scale_factor", NC_DOUBLE, -0.5);
    file.write(lat_v, {1, 0});
    file.write(lon_v, {10, 20});
    file.write_records(time_v, {0, 1});
    file.write_records(v, {2, 7, -32767, 4, -32767, -32767, 7, 7});
  }
  const auto source = open();
  const Image image = source->read(0);
  const float* values = image.data_cyx.data<float>();
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ(values[1], -2);
  EXPECT_EQ(values[2], -1);
  EXPECT_TRUE(std::isnan(values[3]));
  try {
    source->read(1);
    FAIL();
  } catch (const DataError& e) {
    EXPECT_EQ(std::string(e.what()),
              path("a.nc") + ": every value of t2m at 2020-01-02T00:00Z is missing");
  }
  GridOptions options;
  options.files = {path("a.nc")};
  options.allow_empty_fields = true;
  EXPECT_TRUE(std::isnan(open_grid(options)->read(1).data_cyx.data<float>()[2]));

  // A file with records that loses its last byte is truncated.
  const auto size = std::filesystem::file_size(path("a.nc"));
  std::filesystem::resize_file(path("a.nc"), size - 1);
  EXPECT_THAT(error(), AllOf(HasSubstr("truncated"), HasSubstr("variable t2m")));
  std::filesystem::resize_file(path("a.nc"), 60);
  EXPECT_THAT(error(), HasSubstr("damaged NetCDF header"));
  std::filesystem::resize_file(path("a.nc"), 0);
  EXPECT_THAT(error(), HasSubstr("an empty file"));
}

// Levels in Pa, axes in an unusual order, members, longitudes from east to west.
TEST_F(GridSeriesTest, AxesInAnyOrder) {
  {
    NetcdfWriter file(path("a.nc"));
    const int lon = file.dimension("lon", 2), member = file.dimension("number", 3);
    const int level = file.dimension("plev", 2), lat = file.dimension("lat", 2);
    const int time = file.dimension("valid_time", 2);
    const int lon_v = file.define("lon", NC_DOUBLE, {lon});
    const int level_v = file.define("plev", NC_DOUBLE, {level});
    file.attribute(level_v, "units", "Pa");
    const int lat_v = file.define("lat", NC_DOUBLE, {lat});
    const int time_v = file.define("valid_time", NC_INT64, {time});
    file.attribute(time_v, "units", "seconds since 1970-01-01");
    const int v = file.define("air_temperature", NC_INT, {lon, member, level, lat, time});
    file.write(lon_v, {20, 10});
    file.write(level_v, {85000, 50000});
    file.write(lat_v, {-1, 1});
    file.write(time_v, {3600, 7200});
    std::vector<double> values(2 * 3 * 2 * 2 * 2);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
    file.write(v, values);
  }
  const auto source = open({"air_temperature_500", "air_temperature_850"});
  ASSERT_EQ(source->size(), 6);
  EXPECT_THAT(source->times(), ElementsAre(3600, 7200, 3600, 7200, 3600, 7200));
  EXPECT_THAT(source->grid()->longitudes, ElementsAre(10, 20));
  for (int item = 0; item < 6; ++item) {
    const Image image = source->read(item);
    for (int c = 0; c < 2; ++c) {
      for (int y = 0; y < 2; ++y) {
        for (int x = 0; x < 2; ++x) {
          const int expected = ((((1 - x) * 3 + item / 2) * 2 + (1 - c)) * 2 + y) * 2 + item % 2;
          EXPECT_EQ(image.data_cyx.data<float>()[(c * 2 + y) * 2 + x], expected);
        }
      }
    }
  }
  EXPECT_EQ(source->bytes_decoded(), 6 * 8 * 4);
}

// A variable cut out of a file with levels keeps its level as a scalar coordinate.
TEST_F(GridSeriesTest, ScalarLevels) {
  {
    NetcdfWriter file(path("a.nc"));
    const int lat = file.dimension("lat", 2), lon = file.dimension("lon", 2);
    const int lat_v = file.define("lat", NC_FLOAT, {lat});
    const int lon_v = file.define("lon", NC_FLOAT, {lon});
    const int level = file.define("level", NC_INT, {});
    const int z = file.define("z", NC_FLOAT, {lat, lon});
    file.attribute(z, "coordinates", "level");
    const int lsm = file.define("lsm", NC_FLOAT, {lat, lon});
    file.write(lat_v, {0, 1});
    file.write(lon_v, {0, 1});
    file.write(level, {500});
    file.write(z, {1, 2, 3, 4});
    file.write(lsm, {0, 0, 1, 1});
  }
  const auto source = open({"geopotential", "land_sea_mask"});
  EXPECT_EQ(source->channels()[0].name, "z_500");
  EXPECT_EQ(source->channels()[1].name, "lsm");
  EXPECT_EQ(source->size(), 1);
}

TEST_F(GridSeriesTest, LongitudesThatWrapAscend) {
  write_grid(path("a.nc"), {.longitudes = {0, 90, -180, -90}});
  EXPECT_THAT(open()->grid()->longitudes, ElementsAre(0, 90, 180, 270));
}

// Both ways to count longitudes make one series, whole and in windows.
TEST_F(GridSeriesTest, LongitudesOfBothConventionsAreJoined) {
  write_grid(path("a.nc"), {.hours = {0}, .start = 0});
  write_grid(path("b.nc"), {.hours = {6}, .longitudes = {-180, -90, 0, 90}, .start = 100});
  const auto row = [](const GridSource& source, int item, std::optional<Window> window = {}) {
    const Image image = source.read(item, window);
    return std::vector<float>(image.data_cyx.data<float>(),
                              image.data_cyx.data<float>() + image.data_cyx.dim(2));
  };
  GridOptions options;
  options.files = {folder_ + "*.nc"};
  const auto source = open_grid(options);
  EXPECT_THAT(source->grid()->longitudes, ElementsAre(0, 90, 180, 270));
  EXPECT_THAT(row(*source, 0), ElementsAre(8, 9, 10, 11));
  EXPECT_THAT(row(*source, 1), ElementsAre(110, 111, 108, 109));
  EXPECT_THAT(row(*source, 1, Window{0, 1, 2, 2}), ElementsAre(111, 108));
  EXPECT_THAT(row(*source, 1, Window{0, 2, 1, 2}), ElementsAre(108, 109));
  // The second row of a window that goes around the edge of the file.
  const Image two = source->read(1, Window{0, 1, 2, 2});
  EXPECT_EQ(two.data_cyx.data<float>()[2], 107);
  EXPECT_EQ(two.data_cyx.data<float>()[3], 104);

  options.longitudes = LongitudeRange::centred;
  const auto centred = open_grid(options);
  EXPECT_THAT(centred->grid()->longitudes, ElementsAre(-180, -90, 0, 90));
  EXPECT_THAT(row(*centred, 0), ElementsAre(10, 11, 8, 9));
  EXPECT_THAT(row(*centred, 1), ElementsAre(108, 109, 110, 111));

  // A region may lie in one convention or the other, but is not torn in two.
  write_grid(path("west"), {.longitudes = {-20, -15, -10, -5}});
  write_grid(path("greenwich"), {.longitudes = {-10, -5, 0, 5}});
  options.longitudes = LongitudeRange::east;
  options.files = {path("west")};
  EXPECT_THAT(open_grid(options)->grid()->longitudes, ElementsAre(340, 345, 350, 355));
  options.files = {path("greenwich")};
  try {
    open_grid(options);
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("would be torn in two"));
  }
}

TEST_F(GridSeriesTest, GapsAreTold) {
  write_grid(path("a.nc"), {.hours = {0, 6, 12, 30, 36, 42, 48, 66}});
  GridOptions options;
  options.files = {path("a.nc")};
  EXPECT_EQ(open_grid(options)->gaps(),
            "4 times of a series with one every 6 h are missing in 2 gaps: "
            "2020-01-01T12:00Z to 2020-01-02T06:00Z, 2020-01-03T00:00Z to 2020-01-03T18:00Z");
  options.gaps = OnGaps::fail;
  EXPECT_THROW(open_grid(options), DataError);
  // What lies between ranges is not missed.
  options.times = {"2020-01-02T06..2020-01-03T00", "2020-01-01T00..2020-01-01T12"};
  const auto parts = open_grid(options);
  EXPECT_EQ(parts->gaps(), "");
  EXPECT_EQ(parts->size(), 7);
  options.times = {"2020-01-01", "2020-01-01T12..2020-01-02"};
  EXPECT_THROW(open_grid(options), ConfigError);
}

TEST_F(GridSeriesTest, MonthsAndIrregularTimesAreKnown) {
  const auto gaps = [&](std::vector<double> hours) {
    write_grid(path("a.nc"), {.hours = std::move(hours)});
    return open()->gaps();
  };
  EXPECT_EQ(gaps({0, 31 * 24, 60 * 24, 91 * 24}), "");
  EXPECT_EQ(gaps({0, 31 * 24, 60 * 24, 121 * 24, 152 * 24}),
            "1 time of a series with one every month is missing in a gap: "
            "2020-03-01T00:00Z to 2020-05-01T00:00Z");
  EXPECT_EQ(gaps({0, 1, 7, 20, 22}), "the 5 times come at irregular steps, of 1 h to 13 h");
}

TEST_F(GridSeriesTest, TheFirstOfDuplicatesCounts) {
  write_grid(path("a.nc"), {.hours = {0, 6}});
  write_grid(path("b.nc"), {.hours = {6, 12}, .start = 100});
  GridOptions options;
  options.duplicates = OnDuplicates::first;
  options.files = {path("a.nc"), path("b.nc")};
  const auto source = open_grid(options);
  ASSERT_EQ(source->size(), 3);
  EXPECT_EQ(source->provenance(1).file, path("a.nc"));
  options.files = {path("b.nc"), path("a.nc")};
  EXPECT_EQ(open_grid(options)->read(1).data_cyx.data<float>()[0], 108);
}

// A mask downloaded for one date, with other longitudes, belongs to all times of a series.
TEST_F(GridSeriesTest, StaticFilesAreRepeatedWhateverTheirTime) {
  write_grid(path("a.nc"), {.hours = {0, 6}});
  write_grid(path("mask"), {.variable = "lsm", .hours = {-8760}, .longitudes = {-180, -90, 0, 90}});
  GridOptions options;
  options.files = {folder_ + "*.nc"};
  options.static_files = {path("mask")};
  const auto source = open_grid(options);
  ASSERT_EQ(source->size(), 2);
  EXPECT_FALSE(source->is_static(0));
  EXPECT_TRUE(source->is_static(1));
  for (int item = 0; item < 2; ++item) {
    const Image image = source->read(item);
    EXPECT_EQ(image.data_cyx.data<float>()[0], 12 * item + 8);
    EXPECT_EQ(image.data_cyx.data<float>()[12], 10);
    EXPECT_EQ(image.data_cyx.data<float>()[14], 8);
  }
}

TEST_F(GridSeriesTest, FilesWithoutGridAreRefused) {
  {
    NetcdfWriter file(path("a.nc"));
    const int x = file.dimension("x", 2);
    file.write(file.define("t2m", NC_FLOAT, {x}), {1, 2});
  }
  EXPECT_THAT(error(), HasSubstr("has no latitude axis"));
  std::ofstream(path("a.nc")) << "<html>not found</html>";
  EXPECT_THAT(error(), HasSubstr("a file of another format, expected NetCDF"));
}

}  // namespace
}  // namespace trib::io
