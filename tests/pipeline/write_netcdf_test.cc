#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/grid/grid_source.h"
#include "ops/base/error.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

using testing::ElementsAre;

StreamInfo stream() {
  StreamInfo info = stream_of({"a", "b"}, {2, 3});
  info.grid = std::make_shared<io::LatLonGrid>(io::LatLonGrid{{-10, 10}, {0, 120, 240}});
  info.own_all();
  return info;
}

Sample sample_at(double time) {
  Sample sample;
  sample.x_cyx =
      image_of(2, 2, 3, [&](auto c, auto y, auto x) { return time + c * 100 + y * 10 + x; });
  sample.provenance.time = time;
  return sample;
}

std::unique_ptr<io::GridSource> opened(const std::string& path) {
  io::GridOptions options;
  options.files = {path};
  return io::open_grid(options);
}

std::vector<float> read(const io::GridSource& source, std::int64_t index) {
  return values_of(source.read(index).data_cyx);
}

TEST(WriteNetcdf, SamplesComeBackInTheOrderOfTheirTimes) {
  const test::TempDir dir;
  const auto stage = make_stage<SinkStage>("write.netcdf", "{path: deep/out.nc}");
  stage->prepare(stream(), "from");
  stage->start(dir.path());
  for (const double time : {7200.0, 0.0, 3600.0}) stage->consume_sample(sample_at(time));
  stage->finish();
  const auto source = opened(dir.file("deep/out.nc"));
  EXPECT_THAT(source->times(), ElementsAre(0, 3600, 7200));
  EXPECT_EQ(source->channels()[1].name, "b");
  EXPECT_EQ(source->channels()[1].units, "K");
  for (int n = 0; n < 3; ++n) {
    EXPECT_EQ(read(*source, n), values_of(sample_at(3600.0 * n).x_cyx));
  }
}

TEST(WriteNetcdf, TakesTheFirstSamplesNotThoseThatComeFirst) {
  const test::TempDir dir;
  const auto stage = make_stage<SinkStage>("write.netcdf", "{count: 2}");
  stage->prepare(stream(), "from");
  stage->start(dir.path());
  for (const std::uint64_t position : {2, 0, 3, 1}) {
    EXPECT_FALSE(stage->satisfied());
    Sample sample = sample_at(3600.0 * static_cast<double>(position));
    sample.request.position = position;
    stage->consume_sample(sample);
  }
  EXPECT_TRUE(stage->satisfied());
  stage->finish();
  EXPECT_THAT(opened(dir.file("node.nc"))->times(), ElementsAre(0, 3600));
}

TEST(WriteNetcdf, BatchesAreTakenApart) {
  const test::TempDir dir;
  const auto stage = make_stage<SinkStage>("write.netcdf", "{count: 1}");
  stage->prepare(stream(), "from");
  stage->start(dir.path());
  Batch batch;
  batch.x_bchw = Tensor::empty({2, 2, 2, 3}, DType::f32, MemoryKind::ingest);
  for (int b = 0; b < 2; ++b) {
    const std::vector<float> values = values_of(sample_at(60.0 * b).x_cyx);
    std::copy(values.begin(), values.end(), batch.x_bchw.data<float>() + b * 12);
    batch.provenance.push_back(sample_at(60.0 * b).provenance);
    batch.requests.emplace_back();
  }
  EXPECT_FALSE(stage->satisfied());
  stage->consume_batch(batch);
  EXPECT_TRUE(stage->satisfied());
  stage->finish();
  const auto source = opened(dir.file("node.nc"));
  EXPECT_THAT(source->times(), ElementsAre(0, 60));
  EXPECT_EQ(read(*source, 1), values_of(sample_at(60).x_cyx));
}

TEST(WriteNetcdf, NormalisedFieldsArePhysicalAgain) {
  const test::TempDir dir;
  const auto stage = make_stage<SinkStage>("write.netcdf", "");
  StreamInfo info = stream();
  info.statistics = std::make_shared<ChannelStatistics>(
      ChannelStatistics{.channels = {"b", "a"}, .mean = {1000, 280}, .std = {0, 2}});
  stage->prepare(info, "from");
  stage->start(dir.path());
  Sample sample;
  sample.x_cyx = image_of(2, 2, 3, [](auto c, auto, auto x) { return c == 1 ? 0.0 : x - 1.0; });
  sample.provenance.time = 0;
  stage->consume_sample(sample);
  stage->finish();
  const auto source = opened(dir.file("node.nc"));
  EXPECT_THAT(read(*source, 0),
              ElementsAre(278, 280, 282, 278, 280, 282, 1000, 1000, 1000, 1000, 1000, 1000));
}

TEST(WriteNetcdf, EachOfSeveralRanksWritesItsPart) {
  const test::TempDir dir;
  Registry registry;
  register_builtin_stages(registry);
  const ParameterValues parameters =
      parameters_from_text(registry.find("write.netcdf")->parameters, "{path: out.nc}");
  for (int rank = 0; rank < 2; ++rank) {
    const auto made = registry.create("write.netcdf", {"node", parameters, 11, 2, rank});
    auto& stage = dynamic_cast<SinkStage&>(*made);
    stage.prepare(stream(), "from");
    stage.start(dir.path());
    stage.consume_sample(sample_at(3600.0 * rank));
    stage.finish();
  }
  EXPECT_FALSE(std::filesystem::exists(dir.file("out.nc")));
  const auto source = opened(dir.file("out.rank-*.nc"));
  EXPECT_THAT(source->times(), ElementsAre(0, 3600));
}

TEST(WriteNetcdf, NeedsAGrid) {
  const auto stage = make_stage<SinkStage>("write.netcdf", "");
  EXPECT_THROW(stage->prepare(stream_of({"a"}, {2, 3}), "from"), ConfigError);
}

}  // namespace
}  // namespace trib::pipeline
