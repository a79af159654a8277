#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "ops/regrid/regular_grid.h"
#include "tests/pipeline/stage_testing.h"

namespace trib::pipeline {
namespace {

using testing::HasSubstr;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

StreamInfo stream_on(const ops::RegularGrid& grid) {
  StreamInfo info = stream_of({"a"}, {std::ssize(grid.latitudes), std::ssize(grid.longitudes)});
  info.grid = std::make_shared<io::LatLonGrid>(io::LatLonGrid{grid.latitudes, grid.longitudes});
  return info;
}

const ops::RegularGrid kSource = ops::global_grid(19, 36, true);

io::LatLonGrid target_of(const std::string& yaml) {
  return *make_stage<TransformStage>("regrid", yaml)->prepare(stream_on(kSource)).grid;
}

TEST(RegridStage, TakesTheTargetInAnyWay) {
  EXPECT_EQ(target_of("").latitudes.size(), 32u);
  const io::LatLonGrid expected{{-60, 0, 60}, {0, 90, 180, 270}};
  EXPECT_EQ(target_of("{shape: [3, 4]}"), expected);
  EXPECT_EQ(target_of("{degrees: 45}").latitudes, (std::vector<double>{-67.5, -22.5, 22.5, 67.5}));
  EXPECT_EQ(target_of("{shape: [3, 4], poles: true}").latitudes, (std::vector<double>{-90, 0, 90}));
  EXPECT_EQ(target_of("{shape: [3, 4], first: [-60, 0], last: [60, 270]}"), expected);
  // Rows ascend whatever the order they are given in.
  EXPECT_EQ(target_of("{latitudes: [60, 0, -60], longitudes: [0, 90, 180, 270]}"), expected);
  EXPECT_EQ(target_of("{latitudes: [10, 20], longitudes: [355, 5]}"),
            (io::LatLonGrid{{10, 20}, {355, 365}}));
}

TEST(RegridStage, RefusesTargetsThatContradict) {
  const auto expect_refused = [](const std::string& yaml, const std::string& because) {
    try {
      target_of(yaml);
      FAIL() << yaml;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr(because));
    }
  };
  expect_refused("{degrees: 5.625, shape: [3, 4]}", "degrees, shape");
  expect_refused("{latitudes: [1, 2]}", "one needs the other");
  expect_refused("{shape: [3, 4], first: [0, 0]}", "one needs the other");
  expect_refused("{shape: [3, 4], first: [0], last: [1, 1]}", "first: expected");
  expect_refused("{poles: true}", "need 'shape'");
  expect_refused("{shape: [3, 4], first: [0, 0], last: [1, 1], poles: true}", "poles");
  expect_refused("{latitudes: [0, 2, 1], longitudes: [0, 1]}", "monotone");
  expect_refused("{min_valid: 0.5}", "renormalise");
}

TEST(RegridStage, RenormalisesOverWhatIsThere) {
  const auto value = [](const std::string& more) {
    const auto stage =
        make_stage<TransformStage>("regrid", "{method: conservative, shape: [2, 4]" + more + "}");
    stage->prepare(stream_on(kSource));
    Sample sample;
    // The western half of the globe's columns is missing.
    sample.x_cyx =
        image_of(1, 19, 36, [](auto, auto, auto x) -> double { return x >= 18 ? kMissing : 3; });
    const std::vector<float> out = values_of(apply(*stage, sample)[0].x_cyx);
    return std::vector<float>(out.begin(), out.begin() + 4);
  };
  // Cells are centred on 0, 90, 180 and 270 degrees: the first and third are half missing.
  const auto strict = value("");
  EXPECT_TRUE(std::isnan(strict[0]) && std::isnan(strict[2]) && std::isnan(strict[3]));
  EXPECT_EQ(strict[1], 3);
  const auto renormalised = value(", missing: renormalise");
  EXPECT_EQ(renormalised[0], 3);
  EXPECT_EQ(renormalised[2], 3);
  EXPECT_TRUE(std::isnan(renormalised[3]));
  EXPECT_TRUE(std::isnan(value(", missing: renormalise, min_valid: 0.7")[0]));
}

TEST(RegridStage, OutsideIsAnErrorOrMissing) {
  const StreamInfo regional = stream_on({{40, 45, 50}, {0, 5, 10}});
  const std::string target = "latitudes: [45, 70], longitudes: [5, 40]";
  EXPECT_THROW(make_stage<TransformStage>("regrid", "{" + target + "}")->prepare(regional),
               ConfigError);
  const auto stage = make_stage<TransformStage>("regrid", "{outside: missing, " + target + "}");
  stage->prepare(regional);
  Sample sample;
  sample.x_cyx = image_of(1, 3, 3, [](auto, auto, auto) { return 2.0; });
  const std::vector<float> out = values_of(apply(*stage, sample)[0].x_cyx);
  EXPECT_EQ(out[0], 2);
  EXPECT_TRUE(std::isnan(out[1]) && std::isnan(out[2]) && std::isnan(out[3]));
}

}  // namespace
}  // namespace trib::pipeline
