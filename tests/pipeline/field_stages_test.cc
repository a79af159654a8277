// normalize, regrid, forcings and read.netcdf.
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <numbers>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/stages/field_items.h"
#include "pipeline/stages/solar.h"
#include "pipeline/stages/statistics_file.h"
#include "tests/io/netcdf_writer.h"
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

// Daily means against the textbook integral S0 / d^2 / pi * (h sin(lat) sin(dec) + cos(lat)
// cos(dec) sin(h)), h being the hour angle of sunset, with declinations and distances of the
// Astronomical Almanac for 2020.
TEST(Forcings, RadiationAtTheTopOfTheAtmosphere) {
  struct Day {
    double noon;  // seconds since 1970
    double declination, distance;
  };
  constexpr double kRadians = std::numbers::pi / 180;
  const std::vector<double> latitudes{-90, -60, 0, 45, 90}, longitudes{0, 77, 190};
  for (const Day& day : {Day{1592654400, 23.436, 1.01625},              // 2020-06-20, solstice
                         Day{1584662400 + 43200, 0.14, 0.99608},        // 2020-03-20, equinox
                         Day{1608508800 + 43200, -23.437, 0.98376}}) {  // 2020-12-21, solstice
    std::vector<double> sums(15, 0.0);
    for (int hour = 0; hour < 24; ++hour) {
      std::vector<float> one(15);
      toa_incident_solar_radiation(day.noon - 43200 + 3600 * (hour + 1), 3600, latitudes,
                                   longitudes, one.data());
      for (std::size_t i = 0; i < 15; ++i) sums[i] += static_cast<double>(one[i]);
    }
    for (std::size_t y = 0; y < latitudes.size(); ++y) {
      const double sines = std::sin(latitudes[y] * kRadians) * std::sin(day.declination * kRadians);
      const double cosines =
          std::cos(latitudes[y] * kRadians) * std::cos(day.declination * kRadians);
      const double sunset = std::acos(std::clamp(-sines / cosines, -1.0, 1.0));
      const double expected = kSolarConstant / (day.distance * day.distance) / std::numbers::pi *
                              (sunset * sines + cosines * std::sin(sunset));
      for (std::size_t x = 0; x < 3; ++x) {
        EXPECT_NEAR(sums[y * 3 + x] / 86400, std::max(0.0, expected), 2.0)
            << day.noon << " " << latitudes[y] << " " << x;
      }
    }
  }
}

// Against the trapezoidal rule in 360 steps with the sun of each step, as GraphCast integrates.
TEST(Forcings, RadiationIsIntegratedOverTheHourBefore) {
  std::vector<double> latitudes, longitudes;
  for (int i = 0; i < 19; ++i) latitudes.push_back(-90 + 10 * i);
  for (int i = 0; i < 24; ++i) longitudes.push_back(-180 + 15 * i + 3.3);
  constexpr double kRadians = std::numbers::pi / 180, kTime = 1597996800 + 5 * 3600;
  std::vector<float> radiation(19 * 24);
  toa_incident_solar_radiation(kTime, 3600, latitudes, longitudes, radiation.data());
  for (std::size_t i = 0; i < radiation.size(); ++i) {
    double sum = 0;
    for (int step = 0; step <= 360; ++step) {
      const Sun sun = sun_at(kTime - 3600 + 10 * step);
      const double up = std::max(
          0.0, cos_solar_zenith(sun, latitudes[i / 24] * kRadians, longitudes[i % 24] * kRadians));
      sum += kSolarConstant / (sun.distance_au * sun.distance_au) * up * 10 *
             (step == 0 || step == 360 ? 0.5 : 1);
    }
    EXPECT_NEAR(radiation[i], sum, 300) << i;  // J m-2, of up to 4.8e6
  }
}

// At noon of 2020-06-20 the sun stood at 23.436 degrees north, 100 s before its noon at Greenwich
// (Meeus, Astronomical Algorithms, chapters 25 and 28). IFS's formulas are off by some seconds.
TEST(Forcings, SunStandsWhereTheAlmanacSays) {
  const double time = 1592654400 + 100;
  const Sun sun = sun_at(time);
  EXPECT_NEAR(std::asin(sun.sin_declination) * 180 / std::numbers::pi, 23.436, 0.01);
  EXPECT_NEAR(std::remainder(sun.hour_angle, 2 * std::numbers::pi) * 86400 / (2 * std::numbers::pi),
              0, 10);
  EXPECT_NEAR(cos_solar_zenith(sun, 23.436 * std::numbers::pi / 180, 0), 1, 1e-6);
}

TEST(Forcings, PlacesAndTargets) {
  StreamInfo info = stream_of({"t2m"}, {2, 2}, {"t2m"});
  info.grid = std::make_shared<io::LatLonGrid>(io::LatLonGrid{{-60.0, 30.0}, {0.0, 90.0}});
  Sample sample;
  sample.x_cyx = image_of(1, 2, 2, [](auto, auto, auto) { return 0.0; });
  const auto fixed = make_stage<TransformStage>(
      "forcings", "{channels: [cos_latitude, sin_latitude, cos_longitude, sin_longitude]}");
  fixed->prepare(info);
  sample.provenance.time = std::numeric_limits<double>::quiet_NaN();  // not needed
  const std::vector<float> places = values_of(apply(*fixed, sample)[0].x_cyx);
  const std::vector<float> expected{
      0.5, 0.5, 0.8660254F, 0.8660254F, -0.8660254F, -0.8660254F, 0.5, 0.5, 1, 0, 1, 0, 0, 1, 0, 1};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(places[i + 4], expected[i], 1e-6);

  const auto later = make_stage<TransformStage>(
      "forcings", "{channels: [time_of_day_sin, day_of_year_cos], at: target}");
  EXPECT_EQ(
      later->prepare(info).channel_names(),
      (std::vector<std::string>{"t2m", "time_of_day_sin_at_target", "day_of_year_cos_at_target"}));
  sample.provenance.time = 0;
  sample.lead_hours = 6;
  const std::vector<float> ahead = values_of(apply(*later, sample)[0].x_cyx);
  EXPECT_NEAR(ahead[4], 1, 1e-6);
  EXPECT_NEAR(ahead[8], std::cos(2 * std::numbers::pi * 0.25 / 365), 1e-6);
  EXPECT_THROW(later->prepare(stream_of({"t2m"}, {2, 2})), ConfigError);
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

std::vector<double> every_six_hours(int count, double first = 0) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) times.push_back(first + i * 21600.0);
  return times;
}

RandomStream draw(std::int64_t epoch, std::int64_t item) {
  return RandomStream(7, "lead")
      .substream(static_cast<std::uint64_t>(epoch))
      .substream(static_cast<std::uint64_t>(item));
}

// Pairs of a member and a split; a missing time has no partner and is bridged by none.
TEST(FieldItems, ListedLeadTimes) {
  std::vector<double> times = every_six_hours(8);
  times.erase(times.begin() + 3);
  const std::vector<double> member = times;
  times.insert(times.end(), member.begin(), member.end());
  using enum TimeUse;
  const FieldItems items(times, {train, train, train, train, eval, eval, eval},
                         parse_lead_times({"6h", "12h"}, 0));
  const auto pairs = [&](Split split) {
    std::vector<std::array<std::int64_t, 3>> found;
    for (std::int64_t i = 0; i < items.size(split); ++i) {
      const FieldPair pair = items.pair(split, i, draw(0, i));
      found.push_back({pair.image, pair.target, static_cast<std::int64_t>(pair.lead_hours)});
    }
    return found;
  };
  // Hours 0 6 12 24 | 30 36 42
  EXPECT_THAT(
      pairs(Split::train),
      testing::ElementsAre(std::array{0L, 1L, 6L}, std::array{0L, 2L, 12L}, std::array{1L, 2L, 6L},
                           std::array{2L, 3L, 12L}, std::array{7L, 8L, 6L}, std::array{7L, 9L, 12L},
                           std::array{8L, 9L, 6L}, std::array{9L, 10L, 12L}));
  EXPECT_THAT(pairs(Split::eval),
              testing::ElementsAre(std::array{4L, 5L, 6L}, std::array{4L, 6L, 12L},
                                   std::array{5L, 6L, 6L}, std::array{11L, 12L, 6L},
                                   std::array{11L, 13L, 12L}, std::array{12L, 13L, 6L}));
}

TEST(FieldItems, RandomLeadTimes) {
  const FieldItems items(every_six_hours(40), std::vector<TimeUse>(40, TimeUse::train),
                         parse_lead_times({"12h..48h"}, 12));
  EXPECT_EQ(items.size(Split::train), 38);
  std::map<double, int> drawn;
  int changed = 0;
  for (std::int64_t item = 0; item < items.size(Split::train); ++item) {
    const double first = items.pair(Split::train, item, draw(0, item)).lead_hours;
    EXPECT_EQ(items.pair(Split::train, item, draw(0, item)).lead_hours, first);
    for (std::int64_t epoch = 1; epoch < 30; ++epoch) {
      const FieldPair pair = items.pair(Split::train, item, draw(epoch, item));
      ++drawn[pair.lead_hours];
      changed += pair.lead_hours != first ? 1 : 0;
      EXPECT_EQ(pair.target - pair.image, std::lround(pair.lead_hours / 6));
    }
  }
  ASSERT_EQ(drawn.size(), 4U);
  EXPECT_EQ(drawn.begin()->first, 12);
  EXPECT_EQ(drawn.rbegin()->first, 48);
  EXPECT_GT(drawn[48], 29 * 30 / 4 - 60);
  EXPECT_GT(changed, 29 * 38 / 2);
}

TEST(FieldItems, LeadTimesAreChecked) {
  EXPECT_THROW(parse_lead_times({"6h", "12h..24h"}, 0), ConfigError);
  EXPECT_THROW(parse_lead_times({"24h..12h"}, 0), ConfigError);
  EXPECT_THROW(parse_lead_times({"soon"}, 0), ConfigError);
  EXPECT_THROW(parse_lead_times({"6h"}, 6), ConfigError);
}

TEST(ReadNetcdf, YearsAndRangesForTrainingAndEvaluation) {
  constexpr const char* kFile = "era5/noaa_ersst_mnmean_2010_2020.nc";
  TRIB_NEEDS_DATA(kFile);
  const auto stage = [&](const std::string& more) {
    auto source = make_stage<SourceStage>(
        "read.netcdf", "{files: " + test::data_file(kFile) + ", order: sequential, " + more + "}");
    source->prepare();
    return source;
  };
  const auto split = stage("times: [2010..2012, 2014], eval_times: [2013, 2015-06..2015-08]");
  EXPECT_TRUE(split->holds_out());
  EXPECT_EQ(split->items(Split::train), 48);
  EXPECT_EQ(split->items(Split::eval), 15);
  const auto rest = stage("eval_times: 2013, lead: 31d");
  EXPECT_EQ(rest->items(Split::eval), 6);  // of the months of 31 days, December reaches across
  EXPECT_EQ(rest->warnings(), std::vector<std::string>{});
  const auto random = stage("times: 2010..2011, lead: 28d..100d");
  const Sample a = random->read(Split::train, {0, 0, 0, 3, 0}, {}),
               b = random->read(Split::train, {9, 0, 0, 3, 1}, {});
  EXPECT_EQ(a.lead_hours, b.lead_hours);
  EXPECT_GE(a.lead_hours, 28 * 24);
  EXPECT_LE(a.lead_hours, 100 * 24);
  EXPECT_THROW(stage("times: 2010..2012, eval_times: 2012"), ConfigError);
  EXPECT_THROW(stage("eval_times: 2012, holdout: 0.5"), ConfigError);
  EXPECT_THROW(stage("eval_times: 1999"), DataError);
}

// Constants are channels at all times, but nothing to forecast.
TEST(ReadNetcdf, StaticFilesAreNoTargets) {
  const test::TempDir folder;
  test::write_grid(folder.file("t2m.nc"), {.hours = {0, 6, 12, 24}});
  test::write_grid(folder.file("lsm.nc"), {.variable = "lsm", .hours = {-100}, .start = 50});
  const auto source = make_stage<SourceStage>(
      "read.netcdf", "{files: " + folder.file("t2m.nc") + ", static: " + folder.file("lsm.nc") +
                         ", lead: 6h, longitudes: -180..180}");
  const StreamInfo info = source->prepare();
  EXPECT_EQ(info.channel_names(), (std::vector<std::string>{"t2m", "lsm"}));
  EXPECT_EQ(info.target_names(), std::vector<std::string>{"t2m"});
  EXPECT_EQ(info.grid->longitudes.front(), -180);
  ASSERT_EQ(source->items(Split::train), 2);
  ASSERT_EQ(source->warnings().size(), 1U);
  EXPECT_THAT(source->warnings()[0], HasSubstr("1 time of a series with one every 6 h"));
  const Sample sample = source->read(Split::train, {1, 0, 0, 1, 0}, {});
  EXPECT_EQ(values_of(sample.x_cyx)[12], 60);
  EXPECT_EQ(values_of(sample.target_vyx)[0], 24 + 10);
}

}  // namespace
}  // namespace trib::pipeline
