// Ranks that share the channels, with the real communicator: what they measure together, and what
// comes out of it.
#include "pipeline/engine/channel_slices.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/stages/statistics_file.h"
#include "tests/pipeline/slice_testing.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/mpi_test.h"
#include "tests/support/test_data.h"

namespace trib::pipeline {
namespace {

using ops::MeshAxis;
using testing::HasSubstr;

constexpr std::int64_t kChannels = 7;  // of some ranks more than of others
constexpr std::int64_t kSamples = 10;

/// The communicator, laid out as data x tensor ranks.
ops::Communicator& mesh() {
  ops::Communicator& communicator = test::communicator();
  const int ranks = communicator.size();
  const int data = ranks % 2 == 0 && ranks > 2 ? 2 : 1;
  static const bool is_split = (communicator.split({data, 1, ranks / data}), true);
  EXPECT_TRUE(is_split);
  return communicator;
}

model::Division division() {
  return {mesh().size(MeshAxis::tensor), mesh().rank(MeshAxis::tensor)};
}

StreamInfo fields() {
  std::vector<std::string> channels;
  for (std::int64_t c = 0; c < kChannels; ++c) channels.push_back(fmt::format("c{}", c));
  StreamInfo info = stream_of(std::move(channels), {6, 5}, {"c5", "later", "c0", "other"});
  info.division = division();
  return info;
}

/// Channels and targets of sample `number` that a rank has of `info`; one value is missing.
Sample sample_of(const StreamInfo& info, std::int64_t number) {
  const auto value = [&](std::int64_t c, auto y, auto x) -> double {
    if (c == 3 && y == 2 && x == number % 5) return std::numeric_limits<double>::quiet_NaN();
    return std::sin(0.7 * static_cast<double>(c * 100 + number * 10 + y)) * static_cast<double>(x) +
           1000.0 / static_cast<double>(c + 1);
  };
  Sample sample;
  sample.x_cyx = image_of(std::ssize(info.own_channels), 6, 5, [&](auto c, auto y, auto x) {
    return value(info.own_channels[static_cast<std::size_t>(c)], y, x);
  });
  sample.target_vyx = image_of(std::ssize(info.own_targets), 6, 5, [&](auto v, auto y, auto x) {
    return value(20 + info.own_targets[static_cast<std::size_t>(v)], y, x);
  });
  return sample;
}

/// Every data rank sees its contiguous share of the samples.
SampleFeed feed_of(const StreamInfo& info) {
  return [info](std::int64_t count, const auto& visit) {
    const std::int64_t ranks = mesh().size(MeshAxis::data), rank = mesh().rank(MeshAxis::data);
    for (std::int64_t i = rank * count / ranks; i < (rank + 1) * count / ranks; ++i) {
      visit(i, sample_of(info, i));
    }
  };
}

/// The statistics of a normalize stage on this rank, with the part of the fields that is its own.
ChannelStatistics measured(StreamInfo info, const std::string& folder) {
  const auto stage =
      make_stage<TransformStage>("normalize", fmt::format("{{samples: {}}}", kSamples));
  const StreamInfo after = stage->prepare(info);
  const ChannelNames own = own_names({&info});
  stage->keep(own);
  info.own(own);
  stage->measure(feed_of(info), mesh(), folder);
  return *after.statistics;
}

TEST(ChannelSlicesMpi, RanksMeasureTheirChannelsAndKnowAll) {
  const test::TempDir folder;
  const ChannelStatistics together = measured(fields(), folder.path());
  // Where channels are not distributed, the first tensor rank measures all of them alone.
  StreamInfo whole = fields();
  whole.division.distributed = false;
  const ChannelStatistics alone = measured(whole, folder.path());
  ASSERT_EQ(together.channels.size(), static_cast<std::size_t>(kChannels + 2));
  EXPECT_EQ(together.channels, alone.channels);
  EXPECT_EQ(together.mean, alone.mean);
  EXPECT_EQ(together.std, alone.std);

  // And they are what they are called.
  whole.own_all();
  for (std::size_t c = 0; c < together.channels.size(); ++c) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < kSamples; ++i) {
      const Sample sample = sample_of(whole, i);
      const std::int64_t target = c == kChannels ? 1 : 3;  // "later" and "other"
      const Tensor plane = c < kChannels ? sample.x_cyx.select(0, static_cast<std::int64_t>(c))
                                         : sample.target_vyx.select(0, target);
      for (const float v : values_of(plane)) {
        if (!std::isnan(v)) values.push_back(v);
      }
    }
    double sum = 0, squares = 0;
    for (const double v : values) sum += v;
    const double mean = sum / static_cast<double>(values.size());
    for (const double v : values) squares += (v - mean) * (v - mean);
    EXPECT_NEAR(together.mean[c], mean, 1e-12 * std::abs(mean)) << together.channels[c];
    EXPECT_NEAR(together.std[c], std::sqrt(squares / static_cast<double>(values.size())), 1e-10)
        << together.channels[c];
  }
  if (mesh().rank() != 0) return;
  const ChannelStatistics written =
      statistics_in(folder.file("statistics/node.json"), together.channels);
  EXPECT_EQ(written.mean, together.mean);
  EXPECT_EQ(written.std, together.std);
}

TEST(ChannelSlicesMpi, AChannelWithoutValuesEndsAllRanksAlike) {
  const test::TempDir folder;
  const auto stage = make_stage<TransformStage>("normalize", "{samples: 4}");
  StreamInfo info = fields();
  stage->prepare(info);
  const ChannelNames own = own_names({&info});
  stage->keep(own);
  info.own(own);
  const auto feed = [&](std::int64_t count, const auto& visit) {
    feed_of(info)(count, [&](std::int64_t index, const Sample& sample) {
      for (std::size_t i = 0; i < info.own_channels.size(); ++i) {
        if (info.own_channels[i] != 2) continue;
        Tensor plane = sample.x_cyx.select(0, static_cast<std::int64_t>(i));
        std::fill_n(plane.data<float>(), plane.numel(), std::nanf(""));
      }
      visit(index, sample);
    });
  };
  try {
    stage->measure(feed, mesh(), folder.path());
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("channel 'c2' has no value"));
  }
}

/// Run a graph on the ranks of the mesh; each must have its slice of what one rank alone has, which
/// scales by the statistics the ranks have measured and rank 0 has written.
void expect_slices_of_one_rank(const std::string& before, const std::string& after) {
  const test::TempDir own_folder;  // rank 0's is that of all
  std::array<char, 4096> folder{};
  own_folder.path().copy(folder.data(), folder.size() - 1);
  mesh().broadcast(MeshAxis::world, std::as_writable_bytes(std::span(folder)), 0).wait();
  const std::string statistics = fmt::format("{}/scaled.json", folder.data());

  SliceRun together(before + "  scaled: {type: normalize, from: made, samples: 12}\n" + after);
  const RankView part =
      together.run(mesh().size(MeshAxis::tensor), mesh().rank(MeshAxis::tensor), &mesh(),
                   mesh().size(MeshAxis::data), mesh().rank(MeshAxis::data));
  if (mesh().rank() == 0) write_statistics(statistics, statistics_file(*part.info.statistics));
  mesh().barrier(MeshAxis::world).wait();

  SliceRun alone(before +
                 fmt::format("  scaled: {{type: normalize, from: made, stats: {}}}\n", statistics) +
                 after);
  const RankView whole =
      alone.run(1, 0, nullptr, mesh().size(MeshAxis::data), mesh().rank(MeshAxis::data));
  expect_slice_of(whole, part);
  EXPECT_EQ(part.info.statistics->channels, whole.info.statistics->channels);
  EXPECT_EQ(part.info.statistics->mean, whole.info.statistics->mean);
  EXPECT_EQ(part.info.statistics->std, whole.info.statistics->std);
  mesh().barrier(MeshAxis::world).wait();  // the file is read
}

TEST(ChannelSlicesMpi, IngestWithoutAModel) {
  expect_slices_of_one_rank(R"(
  images:  {type: read.synthetic, channels: 7, targets: 5, size: [12, 12], items: 20}
  made:    {type: crop, from: images, size: 8, per_image: 2}
)",
                            R"(
  batches: {type: batch, from: scaled, size: 4}
  end:     {type: test.keep, from: batches}
)");
}

TEST(ChannelSlicesMpi, FieldsWithForcingsAndTargets) {
  TRIB_NEEDS_DATA("era5/era5_t2m_uk_hourly_201903.nc");
  expect_slices_of_one_rank(fmt::format(R"(
  fields:  {{type: read.netcdf, files: {}, times: 2019-03-01..2019-03-02, lead: 6h}}
  made:    {{type: forcings, from: fields, channels: [day_progress_sin, day_progress_cos,
                                                      year_progress_sin, year_progress_cos]}}
)",
                                        test::data_file("era5/era5_t2m_uk_hourly_201903.nc")),
                            R"(
  batches: {type: batch, from: scaled, size: 2}
  end:     {type: test.keep, from: batches}
)");
}

}  // namespace
}  // namespace trib::pipeline
