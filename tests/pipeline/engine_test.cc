#include "pipeline/engine/engine.h"

#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/stages/builtin.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

using testing::HasSubstr;

struct Collected {
  std::mutex mutex;
  std::vector<std::vector<std::uint64_t>> positions;  // of each batch
  std::vector<std::vector<float>> values;
  std::vector<std::uint64_t> samples;
};

/// A sink that keeps what arrives.
class Collect : public SinkStage {
 public:
  Collect(const StageContext& context, Collected& collected)
      : SinkStage(context), collected_(collected), wanted_(context.parameters.integer("count")) {}
  void prepare(const StreamInfo&, const std::string&) override {}
  void consume_sample(const Sample& sample) override {
    collected_.samples.push_back(sample.request.position);
  }
  void consume_batch(const Batch& batch) override {
    std::vector<std::uint64_t> positions;
    for (const SampleRequest& request : batch.requests) positions.push_back(request.position);
    collected_.positions.push_back(std::move(positions));
    const float* x = batch.x_bchw.data<float>();
    collected_.values.emplace_back(x, x + batch.x_bchw.numel());
  }
  bool satisfied() const override {
    return wanted_ > 0 && static_cast<std::int64_t>(collected_.positions.size()) >= wanted_;
  }

 private:
  Collected& collected_;
  std::int64_t wanted_;
};

/// A stage that finds fault with every sample.
class Break : public TransformStage {
 public:
  using TransformStage::TransformStage;
  StreamInfo prepare(const StreamInfo& input) override { return input; }
  void apply(Sample /*input*/, Split /*split*/, std::span<const SampleRequest> /*requests*/,
             std::vector<Sample>& /*output*/) const override {
    throw DataError("broken");
  }
};

class EngineTest : public testing::Test {
 protected:
  struct Result {
    EngineReport report;
    std::vector<Ingest::Skipped> skipped;
    IngestLimits limits;
  };

  Result run(const std::string& yaml, int io_threads = 2, int compute_threads = 2) {
    collected_ = std::make_unique<Collected>();
    Registry registry;
    register_builtin_stages(registry);
    StageDeclaration collect;
    collect.type = "test.collect";
    collect.summary = "Keep what arrives.";
    collect.parameters = {param::integer("count", "Batches wanted.").or_else(0)};
    registry.add(collect, [this](const StageContext& context) {
      return std::make_unique<Collect>(context, *collected_);
    });
    StageDeclaration broken;
    broken.type = "test.break";
    broken.summary = "Find fault with every sample.";
    registry.add(broken,
                 [](const StageContext& context) { return std::make_unique<Break>(context); });
    const trib::test::TempDir folder;
    const std::string path = folder.file("engine_test.yaml");
    std::ofstream(path) << "name: test\nseed: 5\n" << yaml;
    const GraphDefinition graph = load_graph(path, {}, registry);
    PlanOptions options;
    options.seed = graph.seed();
    options.mesh.data = data_ranks_;
    options.place.data = data_rank_;
    Plan plan(graph, registry, options);
    plan.resume_samples(consumed_);
    Threads threads(compute_threads, io_threads);
    Ingest ingest(plan, threads);
    ingest.measure(single_rank(), folder.path());
    Engine engine(plan, threads, ingest, {});
    Result result;
    result.report = engine.run();
    result.skipped = ingest.skipped();
    result.limits = plan.ingest();
    return result;
  }

  std::unique_ptr<Collected> collected_;
  int data_ranks_ = 1, data_rank_ = 0;
  ConsumedSamples consumed_;
};

constexpr const char* kCrops = R"(nodes:
  images:  {type: read.synthetic, channels: 3, size: [24, 20], items: 30, delay: 1ms}
  crops:   {type: crop, from: images, size: [8, 8], per_image: 6}
  batches: {type: batch, from: crops, size: 12, shuffle: 48}
  end:     {type: test.collect, from: batches, count: 12}
)";

TEST_F(EngineTest, BatchesDoNotDependOnThreads) {
  run(kCrops, 1, 1);
  const auto positions = collected_->positions;
  const auto values = collected_->values;
  ASSERT_EQ(positions.size(), 12U);
  for (std::size_t b = 0; b < positions.size(); ++b) {
    for (std::size_t i = 0; i < positions[b].size(); ++i) EXPECT_EQ(positions[b][i], b * 12 + i);
  }
  for (const int io_threads : {2, 3}) {
    run(kCrops, io_threads, 2);
    EXPECT_EQ(collected_->positions, positions);
    EXPECT_EQ(collected_->values, values);
  }
}

// Right behind the reader, normalize is done by it; behind another stage it is one of its own.
TEST_F(EngineTest, ValuesMappedWhileReadingAreThoseOfTheStage) {
  constexpr const char* kGraph = R"(nodes:
  images:  {{type: read.synthetic, channels: 3, targets: 2, size: [8, 6], items: 40}}
{}  scaled:  {{type: normalize, from: {}, samples: 20}}
  batches: {{type: batch, from: scaled, size: 4, shuffle: 8}}
  end:     {{type: test.collect, from: batches, count: 8}}
)";
  run(fmt::format(kGraph, "", "images"));
  const auto mapped = collected_->values;
  const auto positions = collected_->positions;
  run(fmt::format(kGraph, "  whole:   {type: crop, from: images, size: [8, 6], mode: grid}\n",
                  "whole"));
  EXPECT_EQ(collected_->positions, positions);
  ASSERT_EQ(mapped.size(), 8U);
  ASSERT_EQ(collected_->values.size(), 8U);
  for (std::size_t b = 0; b < mapped.size(); ++b) {
    EXPECT_THAT(mapped[b], testing::Pointwise(testing::FloatNear(2e-6F), collected_->values[b]));
  }
}

TEST_F(EngineTest, RanksTogetherSeeTheBatchesOfOneRank) {
  run(kCrops);
  const auto whole = collected_->values;
  data_ranks_ = 2;
  std::vector<std::vector<float>> halves[2];
  for (data_rank_ = 0; data_rank_ < 2; ++data_rank_) {
    run(kCrops);
    halves[data_rank_] = collected_->values;
  }
  for (std::size_t b = 0; b < whole.size(); ++b) {
    std::vector<float> both = halves[0][b];
    both.insert(both.end(), halves[1][b].begin(), halves[1][b].end());
    EXPECT_EQ(both, whole[b]) << "batch " << b;
  }
}

TEST_F(EngineTest, GoesOnWithTheSamplesThatAreNotUsedUp) {
  // The statistics are those of the first samples also then.
  const char* graph = R"(nodes:
  images:  {type: read.synthetic, channels: 3, size: [24, 20], items: 30}
  crops:   {type: crop, from: images, size: [8, 8], per_image: 6}
  scaled:  {type: normalize, from: crops, samples: 7}
  batches: {type: batch, from: scaled, size: 12, shuffle: 48}
  end:     {type: test.collect, from: batches, count: 12}
)";
  run(graph);
  const auto whole = collected_->values;
  consumed_ = {12, 3, {52, 56, 60}};
  run(graph);
  ASSERT_GE(collected_->values.size(), 7U);
  for (std::size_t b = 0; b < 7; ++b) {
    EXPECT_EQ(collected_->positions[b].front(), (b + 5) * 12);
    EXPECT_EQ(collected_->values[b], whole[b + 5]);
  }
}

TEST_F(EngineTest, OneEpochWithoutTraining) {
  const Result result = run(R"(nodes:
  images: {type: read.synthetic, channels: 1, size: [4, 4], items: 25}
  end:    {type: test.collect, from: images}
)");
  EXPECT_EQ(result.report.samples, 25);
  EXPECT_EQ(std::set<std::uint64_t>(collected_->samples.begin(), collected_->samples.end()).size(),
            25U);
}

TEST_F(EngineTest, SlowSinkIsBoundedByTheBudget) {
  const std::int64_t live_before = memory_ledger::use(MemoryKind::ingest).live;
  memory_ledger::reset_peaks();
  const Result result = run(R"(ingest: {items: 40, bytes: 400kB}
nodes:
  images:  {type: read.synthetic, channels: 2, size: [16, 16], items: 600}
  batches: {type: batch, from: images, size: 4}
  end:     {type: sink, from: batches, delay: 1ms}
)");
  EXPECT_EQ(result.report.samples, 600);
  EXPECT_LE(result.report.peak_items, 40);
  EXPECT_GT(result.report.peak_items, 8);
  const MemoryUse ingest = memory_ledger::use(MemoryKind::ingest);
  EXPECT_EQ(ingest.live, live_before);
  EXPECT_LE(ingest.peak - live_before, 400'000);
}

TEST_F(EngineTest, FailureNamesNodeAndItem) {
  try {
    run(R"(nodes:
  images:  {type: read.synthetic, items: 40, fail_at: 17}
  batches: {type: batch, from: images, size: 4}
  end:     {type: sink, from: batches}
)");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_THAT(error.what(), HasSubstr("node 'images' (synthetic image 17)"));
  }
}

TEST_F(EngineTest, SkippedItemsLeaveNoHole) {
  const Result result = run(R"(nodes:
  images:  {type: read.synthetic, items: 41, fail_at: 17, on_error: skip, order: sequential}
  crops:   {type: crop, from: images, size: [8, 8], per_image: 2}
  batches: {type: batch, from: crops, size: 8}
  end:     {type: test.collect, from: batches}
)");
  EXPECT_EQ(result.report.batches, 10);
  ASSERT_EQ(result.skipped.size(), 1U);
  EXPECT_EQ(result.skipped[0].item, "synthetic image 17");
  EXPECT_EQ(collected_->positions[4], (std::vector<std::uint64_t>{32, 33, 36, 37, 38, 39, 40, 41}));
}

TEST_F(EngineTest, SeveralSinksEndTheRunTogether) {
  const Result result = run(R"(nodes:
  images:  {type: read.synthetic, channels: 1, size: [4, 4], items: 1000}
  first:   {type: sink, from: images, count: 5}
  second:  {type: sink, from: images, count: 9}
)");
  EXPECT_EQ(result.report.samples, 5 + 9);
}

TEST_F(EngineTest, FaultsThatAStageFindsAreSkippedOrEndTheRun) {
  const char* graph = R"(nodes:
  images:  {{type: read.synthetic, items: 3, on_error: {}, max_skipped: 3}}
  broken:  {{type: test.break, from: images}}
  batches: {{type: batch, from: broken, size: 2}}
  end:     {{type: sink, from: batches}}
)";
  EXPECT_THROW(run(fmt::format(fmt::runtime(graph), "fail")), Error);
  try {
    run(fmt::format(fmt::runtime(graph), "skip"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("all 3 images were skipped; the last error was: broken"));
  }
}

TEST_F(EngineTest, MoreSkipsThanAllowedEndTheRun) {
  const char* graph = R"(nodes:
  images:  {{type: read.synthetic, items: 7, on_error: skip, max_skipped: {}}}
  broken:  {{type: test.break, from: images}}
  batches: {{type: batch, from: broken, size: 2}}
  end:     {{type: sink, from: batches}}
)";
  // A fraction is rounded up.
  for (const auto& [allowed, expected] :
       {std::pair{"0", "1 of 7 items of 'images' could not be read, and max_skipped allows 0:"},
        std::pair{"0.01", "2 of 7 items of 'images' could not be read, and max_skipped allows 1:"},
        std::pair{"0.5", "5 of 7 items of 'images' could not be read, and max_skipped allows 4:"},
        std::pair{"6", "7 of 7 items of 'images' could not be read, and max_skipped allows 6:"}}) {
    try {
      run(fmt::format(fmt::runtime(graph), allowed), 1, 1);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::data);
      EXPECT_THAT(error.what(), HasSubstr(expected));
      EXPECT_THAT(error.what(), HasSubstr("\n  synthetic image "));
    }
  }
}

TEST_F(EngineTest, SamplesThatAreLeftOutAreNoDamage) {
  const test::TempDir temp;
  std::ofstream(temp.file("a.hdr")) << "ENVI\nsamples = 40\nlines = 8\nbands = 1\ndata type = 2\n"
                                       "interleave = bsq\nbyte order = 0\n"
                                       "data ignore value = -1\n";
  std::vector<std::int16_t> pixels(8 * 40);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = i % 40 < 16 ? -1 : 1;
  std::ofstream(temp.file("a.img"), std::ios::binary)
      .write(reinterpret_cast<const char*>(pixels.data()),
             static_cast<std::streamsize>(pixels.size() * sizeof(pixels[0])));
  const char* graph = R"(nodes:
  windows: {{type: read.raster, files: "{}", sampling: grid, size: 8, min_valid: {}{}}}
  batches: {{type: batch, from: windows, size: 1}}
  end:     {{type: sink, from: batches}}
)";
  const Result result = run(fmt::format(fmt::runtime(graph), temp.file("a.img"), 0.5, ""));
  EXPECT_EQ(result.report.batches, 3);
  EXPECT_TRUE(result.skipped.empty());
  try {
    run(fmt::format(fmt::runtime(graph), temp.file("a.img"), 0.5, ", window: [0, 0, 8, 16]"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_THAT(error.what(), HasSubstr("all samples were left out"));
  }
}

TEST_F(EngineTest, NothingLeftToSkipToIsAnError) {
  EXPECT_THROW(run(R"(nodes:
  images:  {type: read.synthetic, items: 1, fail_at: 0, on_error: skip}
  end:     {type: sink, from: images}
)"),
               Error);
}

TEST_F(EngineTest, SeveralSourcesAndSeveralUsers) {
  const Result result = run(R"(nodes:
  a:       {type: read.synthetic, channels: 2, size: [8, 8], items: 20}
  b:       {type: read.synthetic, channels: 2, size: [16, 16], items: 10}
  pieces:  {type: crop, from: b, size: [8, 8], mode: grid}
  batches: {type: batch, from: [a, pieces], size: 6, shuffle: 30}
  count:   {type: sink, from: a}
  end:     {type: test.collect, from: batches}
)");
  EXPECT_EQ(result.report.samples, 60);
  std::set<std::uint64_t> seen;
  for (const auto& batch : collected_->positions) seen.insert(batch.begin(), batch.end());
  EXPECT_EQ(seen.size(), 60U);
}

TEST_F(EngineTest, BudgetTooSmallForABatchIsFoundBeforeTheRun) {
  try {
    run(R"(ingest: {items: 20}
nodes:
  images:  {type: read.synthetic, items: 100}
  batches: {type: batch, from: images, size: 8, shuffle: 64}
  end:     {type: sink, from: batches}
)");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("ingest.items is 20, but shuffle and batch need at least"));
  }
}

}  // namespace
}  // namespace trib::pipeline
