// Statistics files, and the pass over the data that makes them.
#include <cmath>
#include <fstream>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/engine/ingest.h"
#include "pipeline/engine/threads.h"
#include "pipeline/prepare/statistics_pass.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

using testing::HasSubstr;

std::shared_ptr<const io::LatLonGrid> grid(double first_longitude = 0) {
  io::LatLonGrid made;
  for (int i = 0; i < 4; ++i) made.latitudes.push_back(-67.5 + 45 * i);
  for (int i = 0; i < 8; ++i) made.longitudes.push_back(first_longitude + 45 * i);
  return std::make_shared<io::LatLonGrid>(made);
}

StatisticsFile two_channels() {
  StatisticsFile file;
  file.channels = {{"t_850", "K", 60, 64, 281.25, 15.5, 230, 310},
                   {"z_500", "m**2 s**-2", 64, 64, 54321.0, 0.1, 54320, 54322}};
  file.knows_grid = true;
  file.grid = GridMark::of(grid());
  file.origin.graph = "g.yaml";
  file.origin.samples = 2;
  file.origin.files = {"a.nc"};
  file.origin.num_files = 1;
  file.origin.first_time = 3600;
  return file;
}

template <class Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(StatisticsFile, ReadsBack) {
  const test::TempDir folder;
  const std::string path = folder.file("s.json");
  write_statistics(path, two_channels());
  const StatisticsFile read = read_statistics_file(path);
  ASSERT_EQ(read.channels.size(), 2U);
  EXPECT_EQ(read.channels[0].units, "K");
  EXPECT_EQ(read.channels[0].count, 60);
  EXPECT_EQ(read.channels[0].total, 64);
  EXPECT_EQ(read.channels[0].min, 230);
  EXPECT_EQ(read.channels[1].max, 54322);
  EXPECT_EQ(read.grid.hash, GridMark::of(grid()).hash);
  EXPECT_EQ(read.origin.files, (std::vector<std::string>{"a.nc"}));
  EXPECT_EQ(read.origin.first_time, 3600);
  EXPECT_TRUE(std::isnan(read.origin.last_time));

  const ChannelStatistics asked =
      matching_statistics(read, path, {{"z_500", "m^2 s^-2"}, {"t_850", "K"}}, grid(1e-9));
  EXPECT_EQ(asked.mean, (std::vector<double>{54321.0, 281.25}));
  EXPECT_EQ(asked.std, (std::vector<double>{0.1, 15.5}));
}

TEST(StatisticsFile, OfOtherDataAreRefused) {
  const StatisticsFile file = two_channels();
  const auto refusal = [&](const io::Channel& channel, const auto& on_grid) {
    return error_of([&] { matching_statistics(file, "s.json", {channel}, on_grid); });
  };
  EXPECT_THAT(refusal({"t_85", "K"}, grid()),
              HasSubstr("s.json: has no statistics of channel 't_85'; did you mean 't_850'?"));
  EXPECT_THAT(refusal({"t_850", "degC"}, grid()),
              HasSubstr("channel 't_850' was measured in other units: found 'K', expected 'degC'"));
  EXPECT_THAT(refusal({"t_850", "K"}, grid(22.5)),
              HasSubstr("another grid: found 4 x 8 cells from (-67.5, 0) to (67.5, 315), expected "
                        "4 x 8 cells from (-67.5, 22.5)"));
  // What one side does not say is not compared.
  EXPECT_EQ(refusal({"t_850", ""}, nullptr), "");
}

TEST(StatisticsFile, WithMeansAloneIsReadToo) {
  const test::TempDir folder;
  const std::string path = folder.file("s.json");
  std::ofstream(path) << R"({"channels": {"t2m": {"mean": 280, "std": 2}}})";
  const StatisticsFile read = read_statistics_file(path);
  EXPECT_FALSE(read.knows_grid);
  EXPECT_EQ(statistics_in(path, {"t2m"}).std[0], 2);
  EXPECT_EQ(matching_statistics(read, path, {{"t2m", "K"}}, grid()).mean[0], 280);
}

TEST(StatisticsFile, DamageIsReported) {
  const test::TempDir folder;
  const std::string path = folder.file("s.json");
  EXPECT_THROW(read_statistics_file(path), DataError);
  for (const char* text :
       {"", "{}", "[1, 2]", R"({"channels": {"t": {"mean": 1}}})",
        R"({"channels": {"t": {"mean": "1", "std": 2}}})",
        R"({"channels": {"t": {"mean": 1, "std": -2}}})", R"({"channels": {"t": 3}})",
        R"({"channels": {}, "grid": 4})", R"({"version": 9, "channels": {}})"}) {
    std::ofstream(path) << text;
    EXPECT_THAT(error_of([&] { read_statistics_file(path); }), HasSubstr(path)) << text;
  }
}

TEST(Normalize, RefusesAFileThatIsNotThere) {
  const auto stage = make_stage<TransformStage>("normalize", "{stats: nowhere.json}");
  EXPECT_THAT(error_of([&] {
                stage->prepare(stream_of({"a"}, {4, 4}));
              }),
              HasSubstr("no file nowhere.json; make it with: trib stats GRAPH node"));
}

/// Measured from a graph text, up to the input of `node`.
class StatisticsPass : public testing::Test {
 protected:
  StatisticsPass() { register_builtin_stages(registry_); }

  StatisticsPart measure(const std::string& text, const std::string& node,
                         StatisticsOptions options = {}, int io_threads = 2) const {
    std::ofstream(folder_.file("g.yaml")) << text;
    const GraphDefinition graph = load_graph(folder_.file("g.yaml"), {}, registry_);
    IngestGraph ingest_graph(graph, graph.nodes[find_node(graph, node)].from, registry_, 1, 0);
    Threads threads(1, io_threads);
    const Ingest ingest(ingest_graph.plan(), threads);
    return measure_statistics(ingest_graph, ingest, options);
  }

  Registry registry_;
  test::TempDir folder_;
};

constexpr const char* kGraph = R"(
seed: 3
nodes:
  images:  {type: read.synthetic, items: 700, channels: 3, targets: 1, size: [6, 8], holdout: 0.1}
  crops:   {type: crop, from: images, size: 4, mode: grid, stride: 2}
  scaled:  {type: normalize, from: crops}
  batches: {type: batch, from: scaled, size: 8}
  end:     {type: sink, from: batches}
)";

TEST_F(StatisticsPass, IsThatOfAllTrainingSamples) {
  const std::string images = "items: 700, channels: 3, size: [6, 8], holdout: 0.1}";
  const StatisticsFile file =
      measure("seed: 11\nnodes:\n  node: {type: read.synthetic, " + images +
                  "\n  scaled: {type: normalize, from: node}\n  end: {type: sink, from: scaled}\n",
              "scaled")
          .finished();
  const auto source = make_stage<SourceStage>("read.synthetic", "{" + images);
  source->prepare();
  ASSERT_EQ(file.origin.samples, source->items(Split::train));
  for (std::size_t c = 0; c < 3; ++c) {
    double sum = 0, squares = 0, count = 0;
    for (std::int64_t item = 0; item < source->items(Split::train); ++item) {
      const Tensor image = source->read(Split::train, {0, 0, 0, item, 0}, {}).x_cyx;
      for (const float v : values_of(image.select(0, static_cast<std::int64_t>(c)))) {
        sum += v;
        squares += static_cast<double>(v) * v;
        count += 1;
      }
    }
    EXPECT_EQ(file.channels[c].count, count);
    EXPECT_NEAR(file.channels[c].mean, sum / count, 1e-12);
    EXPECT_NEAR(file.channels[c].std, std::sqrt(squares / count - std::pow(sum / count, 2)), 1e-12);
  }
}

TEST_F(StatisticsPass, PartsOnAnyThreadsMakeTheWholeToTheBit) {
  const std::string whole = measure(kGraph, "scaled").to_json();
  EXPECT_EQ(whole, measure(kGraph, "scaled", {}, 5).to_json());
  StatisticsOptions options;
  std::optional<StatisticsPart> merged;
  for (const int number : {2, 3, 1}) {
    for (const int rank : {1, 0}) {
      options.part = {number, 3};
      options.ranks = 2;
      options.rank = rank;
      const StatisticsPart part =
          StatisticsPart::from_json(measure(kGraph, "scaled", options).to_json(), "part");
      if (merged) {
        EXPECT_THAT(error_of([&] { merged->finished(); }), HasSubstr("merge all parts"));
        merged->merge(part, "part");
      } else {
        merged = part;
      }
    }
  }
  EXPECT_EQ(merged->to_json(), whole);
  EXPECT_EQ(merged->finished().channels[0].count, 630 * 6 * 16);
  const StatisticsPart other = measure(kGraph, "crops");
  EXPECT_THAT(error_of([&] { merged->merge(other, "x.json"); }),
              HasSubstr("x.json: is a part of other statistics"));
}

TEST_F(StatisticsPass, OfSomeSamplesIsThatOfTheFirstOfATraining) {
  StatisticsOptions options;
  options.samples = 40;
  const StatisticsPart part = measure(kGraph, "crops", options);
  EXPECT_EQ(part.samples, 40);
  EXPECT_EQ(part.finished().channels[0].count, 40 * 48);
}

TEST_F(StatisticsPass, DamagedPartsAreReported) {
  const std::string good = measure(kGraph, "crops").to_json();
  EXPECT_THROW(StatisticsPart::from_json(good.substr(0, good.size() / 2), "p"), DataError);
  EXPECT_THROW(StatisticsPart::from_json("{}", "p"), DataError);
  EXPECT_THROW(StatisticsPart::from_json("[]", "p"), DataError);
}

TEST_F(StatisticsPass, LeavesOutWhatIsSkipped) {
  const std::string text = R"(
nodes:
  images: {type: read.synthetic, items: 20, channels: 2, size: 4, fail_at: 7, on_error: skip}
  scaled: {type: normalize, from: images}
  end:    {type: sink, from: scaled}
)";
  const StatisticsPart part = measure(text, "scaled");
  EXPECT_EQ(part.finished().channels[0].count, 19 * 16);
  EXPECT_EQ(part.finished().origin.skipped, 1);
}

TEST(PartOfWork, IsParsed) {
  EXPECT_EQ(PartOfWork::parse("2/8").number, 2);
  EXPECT_EQ(PartOfWork::parse("2/8").parts, 8);
  for (const char* text : {"", "2", "0/3", "4/3", "1/", "/2", "1/2x", "a/b", "-1/2"}) {
    EXPECT_THROW(PartOfWork::parse(text), ConfigError) << text;
  }
  std::vector<int> owners(30, 0);
  for (int number = 1; number <= 3; ++number) {
    for (int rank = 0; rank < 2; ++rank) {
      for (std::size_t i = 0; i < owners.size(); ++i) {
        owners[i] += PartOfWork{number, 3}.contains(static_cast<std::int64_t>(i), 2, rank) ? 1 : 0;
      }
    }
  }
  EXPECT_THAT(owners, testing::Each(1));
}

}  // namespace
}  // namespace trib::pipeline
