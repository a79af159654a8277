// What an applied model makes of images and fields, written where these come from.
#include <cmath>

#include "io/grid/grid_source.h"
#include "io/raster/raster_source.h"
#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class WriteResults : public TribTest {
 protected:
  void run(const std::string& graph) const {
    const ProgramResult result =
        trib({"run", graph, "-q", "--run-dir", "r", "--set", "vars.data=" + sample_data()});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
};

std::unique_ptr<io::ImageSource> rasters(const std::string& files) {
  io::RasterOptions options;
  options.files = {files};
  return io::open_raster(options);
}

// An untrained decoder predicts the mean of each channel, more or less.
TEST_F(WriteResults, ReconstructionsLieWhereTheScenesDo) {
  write("g.yaml", R"(seed: 3
vars: {data: sample-data}
nodes:
  scenes:   {type: read.raster, files: "${data}/satellite/scene_*.tif", tile: 64, order: sequential}
  scaled:   {type: normalize, from: scenes}
  batches:  {type: batch, from: scaled, size: 4}
  tokens:   {type: model.tokenize, from: batches, patch: 8, dim: 16}
  channels: {type: model.aggregate, from: tokens, heads: 2}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  recon:    {type: model.mae_head, from: encoder, dim: 16, depth: 1, heads: 2}
  end:      {type: write.raster, from: recon, mosaic: true}
)");
  run("g.yaml");
  const auto scenes = rasters(sample_data() + "/satellite/scene_*.tif");
  const auto written = rasters(path("r/rasters/end/*.tif"));
  ASSERT_EQ(written->size(), scenes->size());
  const auto statistics = json("r/statistics/scaled.json")["channels"];
  for (std::int64_t i = 0; i < scenes->size(); ++i) {
    const io::Image scene = scenes->read(i), result = written->read(i);
    ASSERT_NE(result.provenance.geo, nullptr);
    EXPECT_EQ(result.provenance.geo->transform, scene.provenance.geo->transform);
    const std::int64_t pixels = result.data_cyx.dim(1) * result.data_cyx.dim(2);
    for (std::size_t c = 0; c < written->channels().size(); ++c) {
      const std::string& name = written->channels()[c].name;
      EXPECT_EQ(name, scenes->channels()[c].name);
      const double mean = statistics[name]["mean"], std = statistics[name]["std"];
      const float* values = result.data_cyx.data<float>() + static_cast<std::int64_t>(c) * pixels;
      double sum = 0;
      for (std::int64_t p = 0; p < pixels; ++p) sum += values[p];
      EXPECT_NEAR(sum / static_cast<double>(pixels), mean, 2 * std) << name;
    }
  }
}

TEST_F(WriteResults, ForecastsAreFieldsOfTheTimeTheyAreFor) {
  write("g.yaml", R"(seed: 5
vars: {data: sample-data}
nodes:
  fields:   {type: read.netcdf, files: "${data}/era5/*.nc", channels: [z_500, t2m], lead: 6h, order: sequential}
  coarse:   {type: regrid, from: fields, degrees: 11.25}
  scaled:   {type: normalize, from: coarse, samples: 32}
  batches:  {type: batch, from: scaled, size: 4}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 16}
  channels: {type: model.aggregate, from: tokens, kind: linear}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  forecast: {type: model.forecast_head, from: encoder, depth: 1, residual: true}
  end:      {type: write.netcdf, from: forecast, path: forecasts.nc, count: 3}
)");
  run("g.yaml");
  io::GridOptions options;
  options.files = {path("r/forecasts.nc")};
  const auto forecasts = io::open_grid(options);
  EXPECT_EQ(forecasts->size(), 12);
  options.files = {sample_data() + "/era5/*.nc"};
  options.channels = {"z_500", "t2m"};
  const auto fields = io::open_grid(options);
  ASSERT_EQ(forecasts->channels().size(), 2U);
  for (std::int64_t i = 0; i < forecasts->size(); ++i) {
    EXPECT_EQ(forecasts->times()[static_cast<std::size_t>(i)],
              fields->times()[static_cast<std::size_t>(i)] + 6 * 3600);
  }
  // An untrained residual head forecasts what is there, in kelvins.
  const std::size_t t2m = forecasts->channels()[0].name == "t2m" ? 0 : 1;
  const io::Image first = forecasts->read(0);
  const std::int64_t pixels = first.data_cyx.dim(1) * first.data_cyx.dim(2);
  const float* values = first.data_cyx.data<float>() + static_cast<std::int64_t>(t2m) * pixels;
  for (std::int64_t p = 0; p < pixels; ++p) {
    EXPECT_GT(values[p], 180);
    EXPECT_LT(values[p], 340);
  }
}

}  // namespace
}  // namespace trib::test
