// Channels divided over tensor ranks: the rule, the plan, and the stages from disk to batch.
#include "pipeline/engine/channel_slices.h"

#include <filesystem>
#include <numeric>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/stages/statistics_file.h"
#include "tests/pipeline/slice_testing.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/test_data.h"

namespace trib::pipeline {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::int64_t> slice_sizes(std::int64_t channels, int ranks,
                                      std::int64_t partitions = 0) {
  std::vector<std::int64_t> sizes;
  std::int64_t end_before = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto [begin, end] = model::Division{ranks, rank, true, partitions}.own_channels(channels);
    EXPECT_EQ(begin, end_before);
    sizes.push_back(end - begin);
    end_before = end;
  }
  EXPECT_EQ(end_before, channels);
  return sizes;
}

template <class Body>
std::string config_error_of(const Body& body) {
  try {
    body();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no ConfigError";
}

TEST(Division, SlicesAreContiguousAndAsEvenAsPartitionsAllow) {
  EXPECT_THAT(slice_sizes(84, 8), ElementsAre(10, 11, 10, 11, 10, 11, 10, 11));
  EXPECT_THAT(slice_sizes(7, 2), ElementsAre(3, 4));
  EXPECT_THAT(slice_sizes(5, 3), ElementsAre(1, 2, 2));
  EXPECT_THAT(slice_sizes(3, 3), ElementsAre(1, 1, 1));
  EXPECT_THAT(slice_sizes(9, 1), ElementsAre(9));
  // Ranks own whole partitions: [0, 2), [2, 5), [5, 7) and [7, 10) of 10 in four.
  EXPECT_THAT(slice_sizes(10, 2, 4), ElementsAre(5, 5));
  EXPECT_THAT(slice_sizes(10, 3, 4), ElementsAre(2, 3, 5));
  EXPECT_EQ((model::Division{8, 5, false, 3}.own_channels(2)), (Range{0, 2}));
}

TEST(Division, ErrorsSayWhatToChange) {
  EXPECT_THAT(
      config_error_of([] {
        model::Division{4, 0}.check(3);
      }),
      AllOf(HasSubstr("3 channels"), HasSubstr("4 tensor ranks"), HasSubstr("lower mesh.tensor")));
  EXPECT_THAT(config_error_of([] {
                model::Division{2, 0, true, 8}.check(3);
              }),
              AllOf(HasSubstr("3 channels"), HasSubstr("8 partitions"), HasSubstr("partitions")));
  EXPECT_THAT(config_error_of([] {
                model::Division{4, 0, true, 2}.check(30);
              }),
              AllOf(HasSubstr("2 partitions"), HasSubstr("4 tensor ranks"),
                    HasSubstr("raise partitions to 4")));
}

TEST(OwnNames, TargetsGoWithTheirChannelsAndOthersAreSharedEvenly) {
  StreamInfo info = stream_of({"a", "b", "c", "d", "e"}, {4, 4}, {"z", "d", "y", "a", "x"});
  std::vector<ChannelNames> names;
  for (int rank = 0; rank < 2; ++rank) {
    info.division = {2, rank};
    names.push_back(own_names({&info}));
  }
  EXPECT_THAT(names[0].channels, ElementsAre("a", "b"));
  EXPECT_THAT(names[1].channels, ElementsAre("c", "d", "e"));
  EXPECT_THAT(names[0].targets, ElementsAre("z", "a"));
  EXPECT_THAT(names[1].targets, ElementsAre("d", "y", "x"));
  info.own(names[1]);
  EXPECT_THAT(info.own_channels, ElementsAre(2, 3, 4));
  EXPECT_THAT(info.own_targets, ElementsAre(1, 2, 4));
  EXPECT_THAT(info.own_target_names(), ElementsAre("d", "y", "x"));
  EXPECT_EQ(info.sample_bytes(), 6 * 16 * 4);

  info.division = {2, 1, false};
  EXPECT_THAT(own_names({&info}).channels, ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_EQ(own_names({&info}).targets.size(), 5U);
}

TEST(OwnNames, ChannelsOfOtherEndsHaveOneOwnerToo) {
  std::vector<std::string> owned;
  for (int rank = 0; rank < 3; ++rank) {
    StreamInfo batch = stream_of({"a", "b", "c"}, {4, 4});
    StreamInfo side = stream_of({"a", "b", "c", "day", "year"}, {4, 4});
    batch.division = side.division = {3, rank};
    for (const std::string& name : own_names({&batch, &side}).channels) owned.push_back(name);
  }
  EXPECT_THAT(owned, testing::UnorderedElementsAre("a", "b", "c", "day", "year"));
}

constexpr const char* kSynthetic = R"(
  images:  {type: read.synthetic, channels: 7, targets: 3, size: [12, 10], items: 9}
  crops:   {type: crop, from: images, size: [8, 8], per_image: 3, flip: true}
  batches: {type: batch, from: crops, size: 4, shuffle: 8}
  end:     {type: test.keep, from: batches}
)";

TEST(ChannelSlices, RanksTogetherHaveWhatOneRankHas) {
  SliceRun graph(kSynthetic);
  for (const int ranks : {2, 3, 7}) {
    SCOPED_TRACE(ranks);
    const std::vector<RankView> views = expect_ranks_make_the_whole(graph, ranks);
    EXPECT_EQ(views[0].pieces[0].x_bchw.dim(1), 7 / ranks);
  }
  const std::vector<RankView> views = expect_ranks_make_the_whole(graph, 2);
  EXPECT_THAT(views[0].info.own_target_names(), ElementsAre("c000", "c001", "c002"));
  EXPECT_EQ(views[1].pieces[0].target_bvhw.shape(), (Shape{4, 0, 8, 8}));
  EXPECT_EQ(views[1].limits.sample_bytes, 4 * 8 * 8 * 4);
}

TEST(ChannelSlices, DataRanksOfOneTensorRankShareTheSamples) {
  SliceRun graph(kSynthetic);
  for (int data_rank = 0; data_rank < 2; ++data_rank) {
    const RankView whole = graph.run(1, 0, nullptr, 2, data_rank);
    for (int tensor_rank = 0; tensor_rank < 2; ++tensor_rank) {
      expect_slice_of(whole, graph.run(2, tensor_rank, nullptr, 2, data_rank));
    }
  }
}

TEST(ChannelSlices, HeldOutSamplesAreSlicesToo) {
  SliceRun graph(R"(
  images:  {type: read.synthetic, channels: 5, targets: 2, size: [4, 4], items: 9, holdout: 0.5}
  batches: {type: batch, from: images, size: 2}
  end:     {type: sink, from: batches}
)");
  const auto held_out = [&](int ranks, int rank) {
    const auto plan = graph.plan(ranks, rank);
    Threads threads(1, 2);
    return Ingest(*plan, threads).held_out(4);
  };
  const std::vector<Sample> whole = held_out(1, 0), part = held_out(2, 1);
  ASSERT_EQ(whole.size(), 4U);
  ASSERT_EQ(part.size(), 4U);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(part[i].request.item, whole[i].request.item);
    expect_channels_of(whole[i].x_cyx, part[i].x_cyx, {2, 3, 4});
    EXPECT_EQ(part[i].target_vyx.shape(), (Shape{0, 4, 4}));
  }
}

TEST(Plan, StagesThatWantSamplesRefuseAModel) {
  SliceRun graph(R"(
  images:  {type: read.synthetic, channels: 2, size: [8, 8]}
  batches: {type: batch, from: images, size: 2}
  tokens:  {type: model.tokenize, from: batches}
  crops:   {type: crop, from: tokens, size: 4}
  end:     {type: sink, from: crops}
)");
  EXPECT_THAT(config_error_of([&] { graph.plan(1, 0); }),
              AllOf(HasSubstr("node 'crops': needs samples, but 'tokens' delivers model steps"),
                    testing::Not(HasSubstr("\n"))));
}

TEST(ChannelSlices, MoreRanksThanChannelsIsOneProblemOfTheBatch) {
  SliceRun graph(kSynthetic);
  EXPECT_THAT(config_error_of([&] { graph.plan(8, 0); }),
              AllOf(HasSubstr("graph.yaml:7"), HasSubstr("node 'batches'"),
                    HasSubstr("7 channels cannot be divided over 8 tensor ranks")));
}

TEST(ChannelSlices, WithoutABatchTheSinkDecides) {
  SliceRun graph(R"(
  images: {type: read.synthetic, channels: 5, size: [4, 6], items: 4, order: sequential}
  write:  {type: write.tensors, from: images, directory: out}
)");
  for (int rank = 0; rank < 3; ++rank) graph.run(3, rank);
  const std::string out = graph.folder().file("out");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(out), {}), 4 * 3);
  const auto names = [&](const std::string& file) {
    const io::SafetensorsFile written(out + "/" + file);
    EXPECT_EQ(written.entry("x_cyx").shape[1], 4);
    return written.metadata().at("channels");
  };
  EXPECT_EQ(names("sample-00000002.safetensors"), R"(["c000"])");
  EXPECT_EQ(names("sample-00000002.rank1.safetensors"), R"(["c001","c002"])");
  EXPECT_EQ(names("sample-00000002.rank2.safetensors"), R"(["c003","c004"])");
}

TEST(ChannelSlices, RanksOfAMeshWriteFilesOfTheirOwn) {
  SliceRun graph(R"(
  images:  {type: read.synthetic, channels: 2, size: [4, 4], items: 8}
  batches: {type: batch, from: images, size: 4}
  samples: {type: write.tensors, from: images, directory: samples}
  write:   {type: write.tensors, from: batches, directory: batches}
)");
  for (int rank = 0; rank < 4; ++rank) graph.run(2, rank % 2, nullptr, 2, rank / 2);
  const auto count = [&](const char* folder) {
    return std::distance(std::filesystem::directory_iterator(graph.folder().file(folder)), {});
  };
  EXPECT_EQ(count("samples"), 8 * 2);
  EXPECT_EQ(count("batches"), 2 * 4);
  EXPECT_TRUE(
      std::filesystem::exists(graph.folder().file("batches/batch-000001.rank3.safetensors")));
}

/// A model stage that divides the channels its own way.
class Divide : public ModelStage {
 public:
  using ModelStage::ModelStage;
  void divide(model::Division& division) const override {
    seen_ranks = division.ranks;
    division.distributed = distributed;
    division.partitions = partitions;
  }
  StreamInfo prepare(const StreamInfo& input) override {
    own_at_prepare = input.own_channel_names();
    StreamInfo info = input;
    info.kind = StreamKind::steps;
    info.model = std::make_shared<model::Model>(
        model::InputSpec{input.channel_names(), input.extent.height, input.extent.width});
    return info;
  }

  static inline bool distributed;
  static inline std::int64_t partitions;
  static inline int seen_ranks;
  static inline std::vector<std::string> own_at_prepare;
};

TEST(ChannelSlices, ModelsDecideOnTheDivisionAndSeeTheirShareAtPrepare) {
  SliceRun graph(R"(
  images:  {type: read.synthetic, channels: 10, size: [8, 8], items: 9}
  batches: {type: batch, from: images, size: 4}
  model:   {type: test.divide, from: batches}
  end:     {type: sink, from: model}
)");
  StageDeclaration declaration;
  declaration.type = "test.divide";
  declaration.summary = "Divide the channels.";
  graph.registry().add(
      declaration, [](const StageContext& context) { return std::make_unique<Divide>(context); });
  Divide::distributed = true;
  Divide::partitions = 4;
  auto plan = graph.plan(3, 1);
  EXPECT_EQ(Divide::seen_ranks, 3);
  EXPECT_THAT(Divide::own_at_prepare, ElementsAre("c002", "c003", "c004"));
  for (const PlannedNode& node : plan->nodes()) {
    EXPECT_EQ(node.info.own_channels.size(), node.sink == nullptr ? 3U : 0U) << node.name();
    EXPECT_EQ(node.info.division.partitions, node.sink == nullptr ? 4 : 0);
  }
  Divide::distributed = false;
  plan = graph.plan(3, 1);
  EXPECT_EQ(Divide::own_at_prepare.size(), 10U);
  EXPECT_EQ(plan->ingest().sample_bytes, 10 * 64 * 4);
}

TEST(ChannelSlices, ARankMayHaveForcingsAlone) {
  TRIB_NEEDS_DATA("era5/era5_t2m_uk_hourly_201903.nc");
  SliceRun graph(fmt::format(R"(
  fields:  {{type: read.netcdf, files: {}, times: 2019-03-01, lead: 6h}}
  clock:   {{type: forcings, from: fields}}
  batches: {{type: batch, from: clock, size: 3}}
  end:     {{type: test.keep, from: batches}}
  write:   {{type: write.tensors, from: fields, directory: out}}
)",
                             test::data_file("era5/era5_t2m_uk_hourly_201903.nc")));
  const std::vector<RankView> views = expect_ranks_make_the_whole(graph, 2);
  EXPECT_THAT(views[0].info.own_channel_names(), ElementsAre("t2m"));
  EXPECT_THAT(views[0].info.own_target_names(), ElementsAre("t2m"));
  EXPECT_THAT(views[1].info.own_channel_names(),
              ElementsAre("day_progress_sin", "day_progress_cos"));
  EXPECT_THAT(views[1].info.own_target_names(), IsEmpty());

  const io::SafetensorsFile written(graph.folder().file("out/sample-00000000.rank1.safetensors"));
  EXPECT_EQ(written.entry("x_cyx").shape, (Shape{0, 33, 49}));
  EXPECT_EQ(written.entry("target_vyx").shape, (Shape{0, 33, 49}));
  EXPECT_EQ(written.metadata().at("channels"), "[]");

  const auto plan = graph.plan(2, 1);
  const PlannedNode& fields = plan->nodes()[static_cast<std::size_t>(plan->find("fields"))];
  EXPECT_EQ(fields.info.sample_bytes(), 0);
  EXPECT_EQ(fields.source->read(Split::train, {}, {}).x_cyx.shape(), (Shape{0, 33, 49}));
}

TEST(ChannelSlices, FieldsRegriddedAndScaledByAFile) {
  TRIB_NEEDS_DATA("era5/eraint_uvz_global_0p75.nc");
  const test::TempDir folder;
  ChannelStatistics statistics;
  for (const char* variable : {"z", "u", "v"}) {
    for (const int level : {200, 500, 850}) {
      statistics.channels.push_back(fmt::format("{}_{}", variable, level));
      statistics.mean.push_back(level);
      statistics.std.push_back(level / 3.0);
    }
  }
  write_statistics(folder.file("statistics.json"), statistics_file(statistics));
  SliceRun graph(fmt::format(R"(
  fields:  {{type: read.netcdf, files: {}}}
  coarse:  {{type: regrid, from: fields}}
  scaled:  {{type: normalize, from: coarse, stats: {}}}
  batches: {{type: batch, from: scaled, size: 2}}
  end:     {{type: test.keep, from: batches}}
)",
                             test::data_file("era5/eraint_uvz_global_0p75.nc"),
                             folder.file("statistics.json")));
  for (const int ranks : {2, 5}) expect_ranks_make_the_whole(graph, ranks);
}

TEST(ChannelSlices, CubesAndRastersAreCutTheSameWayOnAllRanks) {
  TRIB_NEEDS_DATA("hyperspectral/enmap_tif");
  for (const auto& [type, files] :
       {std::pair{"read.cube", "hyperspectral/enmap_potsdam_*.h5"},
        std::pair{"read.raster", "hyperspectral/enmap_tif/enmap_potsdam_*.tif"}}) {
    SCOPED_TRACE(type);
    SliceRun graph(fmt::format(R"(
  images:  {{type: {}, files: "{}"}}
  crops:   {{type: crop, from: images, size: 16, per_image: 2}}
  batches: {{type: batch, from: crops, size: 2}}
  end:     {{type: test.keep, from: batches}}
)",
                               type, test::data_file(files)));
    expect_ranks_make_the_whole(graph, 3);
  }
}

TEST(ChannelSlices, CropAcceptsASliceWithoutValues) {
  const auto whole = make_stage<TransformStage>("crop", "{size: 4}");
  const auto part = make_stage<TransformStage>("crop", "{size: 4}");
  const StreamInfo info = stream_of({"dead", "alive"}, {9, 9});
  whole->prepare(info);
  part->prepare(info);
  part->keep({{"dead"}, {}});
  Sample sample;
  sample.x_cyx = image_of(1, 9, 9, [](auto, auto, auto) { return std::nanf(""); });
  EXPECT_THROW(apply(*whole, sample), DataError);
  const Sample piece = apply(*part, sample)[0];
  EXPECT_EQ(piece.x_cyx.shape(), (Shape{1, 4, 4}));
  sample.x_cyx = Tensor::empty({0, 9, 9}, DType::f32, MemoryKind::ingest);
  EXPECT_EQ(apply(*part, sample)[0].x_cyx.shape(), (Shape{0, 4, 4}));

  // All take the piece that a rank takes whose channels miss nothing.
  sample.x_cyx = image_of(2, 9, 9, [](auto, auto, auto) { return 1; });
  EXPECT_EQ(apply(*whole, sample)[0].provenance.window, piece.provenance.window);
}

TEST(ReadSynthetic, TargetsAreTheFirstChannelsLater) {
  const auto source =
      make_stage<SourceStage>("read.synthetic", "{channels: 4, targets: 2, size: [8, 8]}");
  const StreamInfo info = source->prepare();
  EXPECT_THAT(info.target_names(), ElementsAre("c000", "c001"));
  const Sample sample = source->read(Split::train, {0, 0, 0, 3, 0}, {});
  EXPECT_EQ(sample.lead_hours, 24);
  ASSERT_EQ(sample.target_vyx.shape(), (Shape{2, 8, 8}));
  const std::vector<float> x = values_of(sample.x_cyx), later = values_of(sample.target_vyx);
  EXPECT_EQ(later, values_of(source->read(Split::train, {7, 2, 0, 3, 0}, {}).target_vyx));
  // The wave of c000 has amplitude 0.5 now and later, elsewhere.
  EXPECT_NE(std::vector<float>(x.begin(), x.begin() + 128), later);
  for (const float value : std::vector<float>(later.begin(), later.begin() + 64)) {
    EXPECT_LE(std::abs(value), 0.5F);
  }
  EXPECT_THROW(make_stage<SourceStage>("read.synthetic", "{channels: 1, targets: 2}"), ConfigError);
}

TEST(Forcings, RefuseToAddAChannelTwice) {
  StreamInfo info = stream_of({"day_progress_sin"}, {1, 2});
  info.grid = std::make_shared<io::LatLonGrid>(io::LatLonGrid{{0.0}, {0.0, 90.0}});
  const auto stage = make_stage<TransformStage>("forcings", "");
  EXPECT_THAT(config_error_of([&] { stage->prepare(info); }),
              HasSubstr("has a channel 'day_progress_sin' already"));
}

}  // namespace
}  // namespace trib::pipeline
