// The graphs that come with the program run on its sample data and on real files.

#include <cmath>

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class ShippedGraphs : public TribTest {
 protected:
  static std::string graph(const std::string& name) {
    return std::string(TRIB_SOURCE_DIR) + "/graphs/" + name + ".yaml";
  }
  /// Validate a graph and train three steps of it.
  void expect_trains(const std::string& name, const std::string& data, const Arguments& sets = {},
                     const std::string& folder = "r") const {
    ProgramOptions options;
    options.environment["TRIB_DATA"] = data;
    const ProgramResult valid = trib(Arguments{"validate", graph(name)} + sets, options);
    ASSERT_EQ(valid.exit_code, 0) << valid.err;
    const Arguments few{"--set", "train.steps=3", "--set", "train.warmup_steps=0"};
    const ProgramResult result =
        trib(Arguments{"run", graph(name), "--run-dir", folder, "-q"} + few + sets, options);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto found = losses(folder);
    ASSERT_EQ(found.size(), 3U);
    for (const std::string& loss : found) {
      EXPECT_TRUE(std::isfinite(std::stod(loss)));
      EXPECT_GT(std::stod(loss), 0);
    }
    const auto evaluations = column(folder, "eval_loss");
    EXPECT_TRUE(std::isfinite(std::stod(evaluations.back())));
  }
};

TEST_F(ShippedGraphs, Hyperspectral) {
  expect_trains("hyperspectral_mae", sample_data());
}

TEST_F(ShippedGraphs, HyperspectralDividedChannels) {
  expect_trains("hyperspectral_dchag", sample_data(), {"--set", "vars.channels=1..200"});
}

TEST_F(ShippedGraphs, Satellite) {
  expect_trains("satellite_mae", sample_data());
}

TEST_F(ShippedGraphs, SatelliteInBfloat16) {
  expect_trains("satellite_bf16", sample_data());
}

TEST_F(ShippedGraphs, Forecast) {
  expect_trains("era5_forecast", sample_data());
  EXPECT_GT(std::stod(column("r", "eval_rmse_t2m").back()), 0);
  EXPECT_GT(std::stod(column("r", "eval_persistence_rmse_z_500").back()), 0);
}

TEST_F(ShippedGraphs, RealHyperspectralCubes) {
  TRIB_NEEDS_DATA("hyperspectral");
  for (const char* cubes : {"maize*", "neon*", "jasper*", "enmap*"}) {
    SCOPED_TRACE(cubes);
    expect_trains("hyperspectral_mae", data_dir(), {"--set", std::string("vars.cubes=") + cubes},
                  cubes);
  }
}

TEST_F(ShippedGraphs, RealLandsatScene) {
  TRIB_NEEDS_DATA("satellite/landsat_sentinel/L7_ETMs.tif");
  expect_trains("satellite_mae", data_dir());
}

TEST_F(ShippedGraphs, RealEurosatArchive) {
  TRIB_NEEDS_DATA("satellite/eurosat_rgb_3000.zip");
  const std::string archive = "/vsizip/" + data_file("satellite/eurosat_rgb_3000.zip");
  write("g.yaml", "extends: " + graph("satellite_mae") + "\n");
  expect_trains(
      "satellite_mae", data_dir(),
      {"--set", "vars.scenes=" + archive + "/*/River_*.jpg", "--set", "crops.per_image=4"});
}

TEST_F(ShippedGraphs, RealHourlyTemperature) {
  TRIB_NEEDS_DATA("era5/era5_t2m_uk_hourly_201903.nc");
  expect_trains("era5_t2m_hourly", data_dir());
  EXPECT_GT(std::stod(column("r", "eval_persistence_rmse_t2m").back()), 0.5) << "kelvin";
}

}  // namespace
}  // namespace trib::test
