// normalize, regrid, forcings and read.netcdf.
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <numbers>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/stages/statistics_file.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::pipeline {
namespace {

using testing::Each;
using testing::HasSubstr;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kImages = 5;

// A ramp with one value missing, a constant, and the ramp a hundred times as steep as target.
Sample ramp(std::int64_t number) {
  Sample sample;
  sample.x_cyx = image_of(2, 4, 4, [&](auto c, auto y, auto x) -> double {
    if (c == 1) return 7.1;
    return number == 0 && y == 0 && x == 0 ? kMissing
                                           : static_cast<double>(number * 16 + y * 4 + x);
  });
  sample.target_vyx = image_of(2, 4, 4, [&](auto v, auto y, auto x) {
    return static_cast<double>(number * 16 + y * 4 + x) * (v == 0 ? 1 : 100);
  });
  return sample;
}

void feed(std::int64_t count, const std::function<void(std::int64_t, const Sample&)>& visit) {
  for (std::int64_t i = 0; i < std::min(count, kImages); ++i) visit(i, ramp(i));
}

TEST(Normalize, MeasuresAndScales) {
  const test::TempDir folder;
  const auto stage = make_stage<TransformStage>("normalize", "{samples: 9}");
  const StreamInfo info =
      stage->prepare(stream_of({"ramp", "constant"}, {4, 4}, {"ramp", "steep"}));
  EXPECT_EQ(info.channels[0].units, "1");
  stage->measure(feed, single_rank(), folder.path());

  // Values 1 to 79 of the ramp, 0 to 79 of the steep one.
  const ChannelStatistics& s = *info.statistics;
  EXPECT_EQ(s.channels, (std::vector<std::string>{"ramp", "constant", "steep"}));
  EXPECT_NEAR(s.mean[0], 40, 1e-12);
  EXPECT_NEAR(s.std[0], std::sqrt((79.0 * 79 - 1) / 12), 1e-12);
  EXPECT_NEAR(s.mean[2], 3950, 1e-9);
  EXPECT_NEAR(s.std[2], 100 * std::sqrt((80.0 * 80 - 1) / 12), 1e-9);

  const Sample out = apply(*stage, ramp(0))[0];
  const std::vector<float> x = values_of(out.x_cyx), target = values_of(out.target_vyx);
  EXPECT_TRUE(std::isnan(x[0]));
  EXPECT_NEAR(x[5], (5 - s.mean[0]) / s.std[0], 1e-6);
  EXPECT_THAT(std::vector<float>(x.begin() + 16, x.end()), Each(0.0F));
  EXPECT_NEAR(target[5], (5 - s.mean[0]) / s.std[0], 1e-6);
  EXPECT_NEAR(target[16 + 5], (500 - s.mean[2]) / s.std[2], 1e-6);

  // The file it wrote gives the same.
  const auto again = make_stage<TransformStage>(
      "normalize", "{stats: " + folder.file("statistics/node.json") + "}");
  again->prepare(stream_of({"ramp", "constant"}, {4, 4}, {"ramp", "steep"}));
  EXPECT_EQ(values_of(apply(*again, ramp(3))[0].x_cyx), values_of(apply(*stage, ramp(3))[0].x_cyx));
}

TEST(Normalize, LeavesSharedSamplesAlone) {
  const test::TempDir folder;
  const auto stage = make_stage<TransformStage>("normalize", "");
  stage->prepare(stream_of({"ramp", "constant"}, {4, 4}, {"ramp", "steep"}));
  stage->measure(feed, single_rank(), folder.path());
  const Sample shared = ramp(2);
  const std::vector<float> before = values_of(shared.x_cyx);
  apply(*stage, shared);
  EXPECT_EQ(values_of(shared.x_cyx), before);
}

TEST(Normalize, ChannelWithoutValuesIsAnError) {
  const test::TempDir folder;
  const auto stage = make_stage<TransformStage>("normalize", "");
  stage->prepare(stream_of({"nothing"}, {4, 4}));
  const auto feed_nothing = [](std::int64_t, const auto& visit) {
    Sample sample;
    sample.x_cyx = image_of(1, 4, 4, [](auto, auto, auto) { return kMissing; });
    visit(0, sample);
  };
  try {
    stage->measure(feed_nothing, single_rank(), folder.path());
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("channel 'nothing' has no value"));
  }
}

TEST(StatisticsFile, ReadsBackInTheOrderAskedFor) {
  const test::TempDir folder;
  const std::string path = folder.file("statistics.json");
  write_statistics(path, {{"t_850", "z_500"}, {281.25, 54321.0}, {15.5, 0.1}});
  const ChannelStatistics read = read_statistics(path, {"z_500", "t_850"});
  EXPECT_EQ(read.mean, (std::vector<double>{54321.0, 281.25}));
  EXPECT_EQ(read.std, (std::vector<double>{0.1, 15.5}));
  EXPECT_THROW(read_statistics(path, {"u_500"}), ConfigError);
  EXPECT_THROW(read_statistics(folder.file("none.json"), {}), DataError);
  std::ofstream(path) << "{\"channels\": {\"t_850\": {\"mean\": 1}}}";
  EXPECT_THROW(read_statistics(path, {"t_850"}), DataError);
}

TEST(Regrid, KeepsAFieldThatIsLinearInLatitude) {
  io::LatLonGrid grid;
  for (int i = 0; i <= 72; ++i) grid.latitudes.push_back(90 - 2.5 * i);
  for (int i = 0; i < 144; ++i) grid.longitudes.push_back(2.5 * i);
  const auto field = [&](auto c, auto y, auto) {
    return (c == 0 ? 1 : -2) * grid.latitudes[static_cast<std::size_t>(y)];
  };
  StreamInfo info = stream_of({"a", "b"}, {73, 144}, {"a"});
  info.grid = std::make_shared<io::LatLonGrid>(grid);
  const auto stage = make_stage<TransformStage>("regrid", "{degrees: 5.625}");
  const StreamInfo after = stage->prepare(info);
  ASSERT_EQ(after.extent, (io::Extent{32, 64}));
  Sample sample;
  sample.x_cyx = image_of(2, 73, 144, field);
  sample.target_vyx = image_of(1, 73, 144, field);
  const Sample out = apply(*stage, sample)[0];
  ASSERT_EQ(out.x_cyx.shape(), (Shape{2, 32, 64}));
  const std::vector<float> x = values_of(out.x_cyx), target = values_of(out.target_vyx);
  for (std::size_t i = 0; i < 32 * 64; ++i) {
    const double latitude = after.grid->latitudes[i / 64];
    EXPECT_NEAR(x[i], latitude, 1e-4);
    EXPECT_NEAR(x[32 * 64 + i], -2 * latitude, 2e-4);
    EXPECT_NEAR(target[i], latitude, 1e-4);
  }
  info.grid = nullptr;
  EXPECT_THROW(stage->prepare(info), ConfigError);
}

TEST(Forcings, FollowTheClockAndTheYear) {
  StreamInfo info = stream_of({"t2m"}, {1, 4});
  info.grid = std::make_shared<io::LatLonGrid>(io::LatLonGrid{{0.0}, {0.0, 90.0, 180.0, 270.0}});
  const auto stage = make_stage<TransformStage>(
      "forcings", "{channels: [day_progress_sin, day_progress_cos, year_progress_cos]}");
  EXPECT_EQ(stage->prepare(info).channel_names(),
            (std::vector<std::string>{"t2m", "day_progress_sin", "day_progress_cos",
                                      "year_progress_cos"}));
  Sample sample;
  sample.x_cyx = image_of(1, 1, 4, [](auto, auto, auto x) { return static_cast<double>(x); });
  sample.provenance.time = 6 * 3600;  // six hours after the beginning of 1970
  const std::vector<float> morning = values_of(apply(*stage, sample)[0].x_cyx);
  const std::vector<float> expected{0, 1, 2, 3, 1, 0, -1, 0, 0, -1, 0, 1};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(morning[i], expected[i], 1e-6) << i;
  EXPECT_NEAR(morning[12], std::cos(2 * std::numbers::pi * 0.25 / 365.24219), 1e-6);

  sample.provenance.time = 365.24219 / 2 * 86400;
  EXPECT_NEAR(values_of(apply(*stage, sample)[0].x_cyx)[12], -1, 1e-6);
  sample.provenance.time = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(apply(*stage, sample), DataError);
  EXPECT_THROW(make_stage<TransformStage>("forcings", "{channels: [moon]}"), ConfigError);
}

TEST(ReadNetcdf, TrainingPairsEndBeforeTheHeldOutTimes) {
  constexpr const char* kFile = "era5/era5_t2m_uk_hourly_201903.nc";
  TRIB_NEEDS_DATA(kFile);
  const auto source = make_stage<SourceStage>(
      "read.netcdf",
      "{files: " + test::data_file(kFile) + ", lead: [6h, 24h], holdout: 0.25, order: sequential}");
  const StreamInfo info = source->prepare();
  EXPECT_EQ(info.targets.size(), info.channels.size());
  EXPECT_TRUE(source->holds_out());
  std::map<double, std::vector<float>> fields;  // by time
  const auto each = [&](Split split, auto&& visit) {
    for (std::int64_t item = 0; item < source->items(split); ++item) {
      const Sample sample = source->read(split, {0, 0, 0, item, 0}, {});
      fields[sample.provenance.time] = values_of(sample.x_cyx);
      visit(sample);
    }
  };
  double first_held_out = std::numeric_limits<double>::infinity(), last_trained = 0;
  each(Split::eval,
       [&](const Sample& s) { first_held_out = std::min(first_held_out, s.provenance.time); });
  each(Split::train, [&](const Sample& s) {
    last_trained = std::max(last_trained, s.provenance.time + s.lead_hours * 3600.0);
  });
  EXPECT_EQ(last_trained, first_held_out - 3600);
  std::map<float, int> leads;
  for (const Split split : {Split::train, Split::eval}) {
    each(split, [&](const Sample& s) {
      ++leads[s.lead_hours];
      const auto later = fields.find(s.provenance.time + s.lead_hours * 3600.0);
      if (later != fields.end()) {
        EXPECT_EQ(values_of(s.target_vyx), later->second);
      }
    });
  }
  ASSERT_EQ(leads.size(), 2U);
  // Each part loses as many pairs as the lead has hours.
  EXPECT_EQ(leads[6] - leads[24], 2 * (24 - 6));
}

}  // namespace
}  // namespace trib::pipeline
