// write.raster: names of files, places of windows, mosaics.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/raster/raster_source.h"
#include "ops/base/error.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

using testing::HasSubstr;

/// A window of a scene: pixel values tell their place in it.
Sample window_of(const std::string& file, const io::Window& w, std::uint64_t position = 0) {
  Sample sample;
  sample.x_cyx = image_of(2, w.height, w.width, [&](auto c, auto y, auto x) {
    return c * 10000 + (w.y + y) * 100 + w.x + x;
  });
  sample.provenance.file = file;
  sample.provenance.window = w;
  sample.provenance.geo =
      std::make_shared<const io::GeoReference>(io::GeoReference{"", {1000, 10, 0, 2000, 0, -10}});
  sample.request.position = position;
  return sample;
}

class WriteRasterTest : public testing::Test {
 protected:
  std::unique_ptr<SinkStage> made(const std::string& yaml) const {
    auto stage = make_stage<SinkStage>("write.raster", yaml);
    StreamInfo input = stream_of({"B04", "B08"}, {4, 4});
    input.own_all();
    stage->prepare(input, "input");
    stage->start(folder_.path());
    return stage;
  }

  io::Image read(const std::string& name) const {
    io::RasterOptions options;
    options.files = {folder_.file(name)};
    return io::open_raster(options)->read(0);
  }

  std::string refusal(const std::string& yaml, const std::vector<Sample>& samples = {}) const {
    try {
      const auto stage = made(yaml);
      for (const Sample& sample : samples) stage->consume_sample(sample);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

  test::TempDir folder_;
};

TEST_F(WriteRasterTest, WritesSamplesWhereTheyLie) {
  const auto stage = made("{}");
  stage->consume_sample(window_of("/data/scene.jp2", {8, 4, 4, 4}));
  stage->finish();
  const io::Image image = read("rasters/node/scene_8_4.tif");
  EXPECT_EQ(image.provenance.geo->transform, (std::array<double, 6>{1040, 10, 0, 1920, 0, -10}));
  EXPECT_EQ(values_of(image.data_cyx), values_of(window_of("", {8, 4, 4, 4}).x_cyx));
}

TEST_F(WriteRasterTest, WritesTheImagesOfBatchesUpToItsCount) {
  const auto stage = made(R"({path: "out/{index}.tif", count: 3, dtype: int16})");
  Batch batch;
  batch.x_bchw = Tensor::empty({2, 2, 4, 4}, DType::f32, MemoryKind::ingest);
  for (std::uint64_t b = 0; b < 2; ++b) {
    const Sample sample = window_of("scene.tif", {0, 4 * static_cast<std::int64_t>(b), 4, 4}, b);
    Tensor slot = batch.x_bchw.select(0, static_cast<std::int64_t>(b));
    sample.x_cyx.copy_to(slot);
    batch.provenance.push_back(sample.provenance);
    batch.requests.push_back(sample.request);
  }
  stage->consume_batch(batch);
  EXPECT_FALSE(stage->satisfied());
  for (SampleRequest& request : batch.requests) request.position += 2;
  stage->consume_batch(batch);
  EXPECT_TRUE(stage->satisfied());
  stage->finish();
  EXPECT_EQ(values_of(read("out/00000001.tif").data_cyx),
            values_of(window_of("", {0, 4, 4, 4}).x_cyx));
  EXPECT_TRUE(std::filesystem::exists(folder_.file("out/00000002.tif")));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out/00000003.tif")));
}

TEST_F(WriteRasterTest, PutsWindowsOfAFileTogether) {
  const auto stage = made("{mosaic: true, format: cog, compress: zstd}");
  for (const std::int64_t y : {4, 0}) {
    for (const std::int64_t x : {4, 8}) stage->consume_sample(window_of("a.tif", {y, x, 4, 4}));
  }
  stage->consume_sample(window_of("b.tif", {0, 0, 4, 4}));
  stage->finish();
  const io::Image image = read("rasters/node/a.tif");
  EXPECT_EQ(values_of(image.data_cyx), values_of(window_of("", {0, 4, 8, 8}).x_cyx));
  EXPECT_EQ(image.provenance.geo->transform[0], 1040);
  EXPECT_EQ(values_of(read("rasters/node/b.tif").data_cyx),
            values_of(window_of("", {0, 0, 4, 4}).x_cyx));

  Sample larger = window_of("a.tif", {0, 0, 4, 4});
  larger.provenance.window.height = 2;
  EXPECT_THROW(made("{mosaic: true}")->consume_sample(larger), DataError);
}

TEST_F(WriteRasterTest, RefusesNamesThatImagesWouldShare) {
  const std::vector<Sample> two = {window_of("x/a.tif", {0, 0, 4, 4}),
                                   window_of("y/a.tif", {0, 0, 4, 4})};
  EXPECT_THAT(refusal("{}", two), HasSubstr("two images would be written under this name"));
  EXPECT_THAT(refusal("{mosaic: true}", two), HasSubstr("y/a.tif"));
  EXPECT_EQ(refusal("{}", {two[0], two[0]}), "");
  EXPECT_THAT(refusal(R"({path: "{name}.tif"})"), HasSubstr("{name}"));
  EXPECT_THAT(refusal(R"({path: "{file.tif"})"), HasSubstr("without '}'"));
  EXPECT_THAT(refusal(R"({path: "{file}_{x}.tif", mosaic: true})"), HasSubstr("mosaic"));
  EXPECT_THAT(refusal("{scale: 2}"), HasSubstr("int16"));
  EXPECT_THAT(refusal("{dtype: uint16, nodata: -1}"), HasSubstr("nodata -1"));
}

TEST_F(WriteRasterTest, TakesNoStepsOfAModel) {
  const auto stage = make_stage<SinkStage>("write.raster", "{}");
  StreamInfo input = stream_of({"B04"}, {4, 4});
  input.kind = StreamKind::steps;
  EXPECT_THROW(stage->prepare(input, "model"), ConfigError);
}

}  // namespace
}  // namespace trib::pipeline
