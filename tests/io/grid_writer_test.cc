#include "io/grid/grid_writer.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/grid/grid_source.h"
#include "io/grid/netcdf_file.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kHour = 3600;

const LatLonGrid kGrid{{-30, 0, 30}, {0, 90, 180, 270}};

Channel channel(const std::string& name, double level_hpa = kUnknown) {
  return {.name = name, .units = "K", .level_hpa = level_hpa};
}

/// A different value for each time, channel and point; one of them missing.
std::vector<float> fields(int time, std::size_t channels) {
  std::vector<float> values;
  for (std::size_t i = 0; i < channels * 12; ++i) {
    values.push_back(i == 5 ? kNan
                            : static_cast<float>(time * 1000) + 0.25F * static_cast<float>(i));
  }
  return values;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

std::unique_ptr<GridSource> opened(const std::string& path,
                                   const std::vector<std::string>& channels = {}) {
  GridOptions options;
  options.files = {path};
  options.channels = channels;
  options.allow_empty_fields = true;
  return open_grid(options);
}

std::vector<float> values_of(const Image& image) {
  return {image.data_cyx.data<float>(), image.data_cyx.data<float>() + image.data_cyx.numel()};
}

TEST(GridWriter, OurReaderFindsWhatWasWritten) {
  const test::TempDir dir;
  const std::string path = dir.file("out.nc");
  const std::vector<Channel> channels{channel("t_850", 850), channel("t2m"), channel("t_500", 500)};
  GridWriter writer(path, kGrid, channels, {.history = "a test"});
  for (const int time : {6, 0, 3}) {
    writer.add({1.5e9 + time * kHour, kUnknown}, fields(time, 3).data());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.finish();
  EXPECT_THAT(files_in(dir.path()), ElementsAre("out.nc"));

  const auto source = opened(path, {"t_850", "t2m", "t_500"});
  EXPECT_EQ(*source->grid(), kGrid);
  EXPECT_THAT(source->times(), ElementsAre(1.5e9, 1.5e9 + 3 * kHour, 1.5e9 + 6 * kHour));
  EXPECT_EQ(source->channels()[0].level_hpa, 850);
  EXPECT_EQ(source->channels()[1].units, "K");
  for (int n = 0; n < 3; ++n) {
    const std::vector<float> found = values_of(source->read(n)), expected = fields(3 * n, 3);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (i == 5) {
        EXPECT_TRUE(std::isnan(found[i]));
      } else {
        EXPECT_EQ(found[i], expected[i]) << n << ", " << i;
      }
    }
  }

  const NetcdfFile file(path);
  const NetcdfVariable* t = file.find("t");
  ASSERT_NE(t, nullptr);
  EXPECT_EQ(file.text(*t, "standard_name"), "air_temperature");
  EXPECT_EQ(file.text(*t, "long_name"), "temperature");
  EXPECT_THAT(file.chunks(*t), ElementsAre(1, 1, 3, 4));
  EXPECT_EQ(file.filters(*t), "shuffle, deflate 1");
  EXPECT_THAT(file.values(*file.find("level")), ElementsAre(500, 850));
  EXPECT_EQ(file.text(*file.find("level"), "units"), "hPa");
  EXPECT_EQ(file.text(*file.find("time"), "units"), "seconds since 1970-01-01 00:00:00");
  EXPECT_TRUE(std::isnan(file.numbers(*t, "_FillValue")[0]));
}

TEST(GridWriter, PackedValuesAreWithinHalfAStep) {
  const test::TempDir dir;
  const std::string path = dir.file("out.nc");
  GridWriter writer(path, kGrid, {channel("a"), channel("constant"), channel("nothing")},
                    {.pack = true});
  std::vector<float> data = fields(1, 3);
  for (std::size_t i = 12; i < 24; ++i) data[i] = 7.25F;
  for (std::size_t i = 24; i < 36; ++i) data[i] = kNan;
  data[3] = -900;
  writer.add({0, kUnknown}, data.data());
  writer.finish();
  const auto source = opened(path);
  EXPECT_EQ(source->times()[0], 0);
  const std::vector<float> found = values_of(source->read(0));
  const double step = (1000 + 0.25 * 11 + 900) / 65530;
  for (std::size_t i = 0; i < 36; ++i) {
    EXPECT_EQ(std::isnan(found[i]), std::isnan(data[i])) << i;
    if (!std::isnan(data[i])) {
      EXPECT_NEAR(found[i], data[i], i < 12 ? 0.51 * step : 0) << i;
    }
  }
  const NetcdfFile file(path);
  EXPECT_EQ(file.find("a")->dtype, DType::i16);
  EXPECT_EQ(file.text(*file.find("time"), "units"), "hours since 1970-01-01 00:00:00");
}

TEST(GridWriter, ForecastsKeepTheTimeTheyBeganAt) {
  const test::TempDir dir;
  const std::string path = dir.file("out.nc");
  GridWriter writer(path, kGrid, {channel("a")}, {.deflate = 0, .shuffle = false});
  writer.add({30 * kHour, 24 * kHour}, fields(2, 1).data());
  writer.add({6 * kHour, 0}, fields(1, 1).data());
  writer.finish();
  const NetcdfFile file(path);
  EXPECT_THAT(file.values(*file.find("time")), ElementsAre(6, 30));
  EXPECT_THAT(file.values(*file.find("forecast_reference_time")), ElementsAre(0, 24));
  EXPECT_EQ(opened(path)->size(), 2);
}

TEST(GridWriter, FieldsWithoutTimeStandAlone) {
  const test::TempDir dir;
  const std::string path = dir.file("mask.nc");
  {
    GridWriter writer(path, kGrid, {channel("lsm")}, {});
    writer.add({}, fields(1, 1).data());
    writer.finish();
  }
  const auto source = opened(path);
  EXPECT_EQ(source->size(), 1);
  EXPECT_TRUE(std::isnan(source->times()[0]));
  EXPECT_EQ(values_of(source->read(0))[0], 1000);

  GridWriter two(dir.file("two.nc"), kGrid, {channel("lsm")}, {});
  two.add({}, fields(1, 1).data());
  two.add({0, kUnknown}, fields(1, 1).data());
  EXPECT_THROW(two.finish(), DataError);
  EXPECT_THAT(files_in(dir.path()), ElementsAre("mask.nc"));
}

TEST(GridWriter, NothingIsLeftOfAFileThatWasNotFinished) {
  const test::TempDir dir;
  {
    GridWriter writer(dir.file("out.nc"), kGrid, {channel("a")}, {});
    writer.add({0, kUnknown}, fields(0, 1).data());
    writer.add({0, kUnknown}, fields(1, 1).data());
    try {
      writer.finish();
      FAIL();
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("1970-01-01T00:00Z came twice"));
    }
  }
  {
    GridWriter unfinished(dir.file("other.nc"), kGrid, {channel("a")}, {});
    unfinished.add({0, kUnknown}, fields(0, 1).data());
  }
  GridWriter(dir.file("empty.nc"), kGrid, {channel("a")}, {}).finish();
  EXPECT_TRUE(files_in(dir.path()).empty());
  EXPECT_THROW(GridWriter("/nowhere/out.nc", kGrid, {channel("a")}, {}), RuntimeError);
}

TEST(GroupChannels, JoinsLevelsOfAVariable) {
  const auto groups = group_channels({channel("z_500", 500), channel("t_850", 850), channel("t2m"),
                                      channel("t_50", 50), channel("q", 700), channel("w_3")});
  std::vector<std::string> names;
  for (const ChannelGroup& group : groups) names.push_back(group.variable);
  EXPECT_THAT(names, ElementsAre("z_500", "t", "t2m", "q", "w_3"));
  EXPECT_THAT(groups[1].levels_hpa, ElementsAre(50, 850));
  EXPECT_THAT(groups[1].channels, ElementsAre(3, 1));
  // A surface variable of the name keeps it.
  EXPECT_EQ(group_channels({channel("t"), channel("t_850", 850), channel("t_50", 50)}).size(), 3u);
}

TEST(GridWriterAgainstCdo, GridAndTimesAreUnderstood) {
  if (std::system("cdo --version >/dev/null 2>&1") != 0) {
    std::cerr << "\n*** cdo IS NOT INSTALLED: nothing is compared with it here ***\n";
    GTEST_SKIP() << "cdo is not installed";
  }
  const test::TempDir dir;
  const std::string path = dir.file("out.nc");
  GridWriter writer(path, kGrid, {channel("t_850", 850), channel("t_500", 500), channel("sst")},
                    {.history = "a test"});
  writer.add({1577836800 + 6 * kHour, kUnknown}, fields(2, 3).data());
  writer.add({1577836800, kUnknown}, fields(1, 3).data());
  writer.finish();
  const auto says = [&](const std::string& operation) {
    const std::string out = dir.file("said");
    EXPECT_EQ(std::system(("cdo -s " + operation + " " + path + " > " + out + " 2>&1").c_str()), 0);
    std::ifstream file(out);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_THAT(says("showtimestamp"), HasSubstr("2020-01-01T00:00:00  2020-01-01T06:00:00"));
  EXPECT_THAT(says("griddes"), HasSubstr("gridtype  = lonlat"));
  EXPECT_THAT(says("griddes"), HasSubstr("yinc      = 30"));
  EXPECT_THAT(says("showlevel"), HasSubstr("500 850"));
  EXPECT_THAT(says("showstdname"), HasSubstr("air_temperature"));
  EXPECT_THAT(says("infon"), HasSubstr(": t "));
}

}  // namespace
}  // namespace trib::io
