// Reads and openings that do not end in time. What blocks here is let go at the end of each test,
// so that late returns are tested too.
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "io/image_source.h"
#include "io/opening_file.h"
#include "ops/base/error.h"
#include "pipeline/engine/abandoned.h"
#include "pipeline/engine/engine.h"
#include "pipeline/graph/graph_definition.h"
#include "pipeline/stages/read_error_parameters.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::StartsWith;

/// A closed door.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [&] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

/// Images of which every `hang_every`-th stands behind the gate; so does opening them, on request.
class Hanging : public SourceStage {
 public:
  Hanging(const StageContext& context, std::shared_ptr<Gate> gate)
      : SourceStage(context),
        gate_(std::move(gate)),
        hang_every_(context.parameters.integer("hang_every")),
        hangs_opening_(context.parameters.boolean("hang_opening")),
        errors_(read_errors_of(context.parameters)) {}

  StreamInfo prepare() override {
    const io::OpeningFile opening("far/away.nc");
    if (hangs_opening_) gate_->pass();
    StreamInfo info = stream_of({"a"}, {2, 2});
    info.own_all();
    return info;
  }
  void keep(const ChannelNames& /*own*/) override {}
  std::int64_t items(Split /*split*/) const override { return 40; }
  io::Extent extent(Split /*split*/, std::int64_t /*item*/) const override { return {2, 2}; }
  ItemOrder order() const override { return ItemOrder::listed; }
  ReadErrors read_errors() const override { return errors_; }
  std::string describe(Split /*split*/, std::int64_t item) const override {
    return fmt::format("far/away.nc, time {}", item);
  }
  Sample read(Split /*split*/, const SampleRequest& request,
              const ReadTarget& /*target*/) const override {
    Sample sample;
    sample.x_cyx = Tensor::zeros({1, 2, 2}, DType::f32, MemoryKind::ingest);
    if (hang_every_ > 0 && request.item % hang_every_ == 3) gate_->pass();
    sample.x_cyx.data<float>()[0] = static_cast<float>(request.item);
    return sample;
  }

 private:
  std::shared_ptr<Gate> gate_;
  std::int64_t hang_every_;
  bool hangs_opening_;
  ReadErrors errors_;
};

/// Adds up what arrives.
class Sum : public SinkStage {
 public:
  Sum(const StageContext& context, double& sum) : SinkStage(context), sum_(sum) {}
  void prepare(const StreamInfo& /*input*/, const std::string& /*input_node*/) override {}
  void consume_batch(const Batch& batch) override {
    for (std::int64_t b = 0; b < batch.x_bchw.dim(0); ++b) {
      sum_ += static_cast<double>(batch.x_bchw.data<float>()[4 * b]);
    }
  }

 private:
  double& sum_;
};

class TimeOut : public ::testing::Test {
 protected:
  struct Result {
    EngineReport report;
    std::vector<Ingest::Skipped> skipped;
    double sum = 0;
  };

  ~TimeOut() override {
    gate_->open();
    while (abandoned_threads() > 0) std::this_thread::yield();
  }

  Result run(const std::string& parameters, int io_threads) {
    Result result;
    Registry registry;
    register_builtin_stages(registry);
    StageDeclaration hang;
    hang.type = "test.hang";
    hang.summary = "Hang.";
    hang.inputs = StageDeclaration::Inputs::none;
    hang.parameters = read_error_parameters("image");
    hang.parameters.push_back(param::integer("hang_every", "Distance.").or_else(0));
    hang.parameters.push_back(param::boolean("hang_opening", "Also opening.").or_else(false));
    registry.add(hang, [this](const StageContext& context) {
      return std::make_unique<Hanging>(context, gate_);
    });
    StageDeclaration sum;
    sum.type = "test.sum";
    sum.summary = "Add.";
    registry.add(sum, [&](const StageContext& context) {
      return std::make_unique<Sum>(context, result.sum);
    });
    const test::TempDir folder;
    std::ofstream(folder.file("g.yaml"))
        << "name: t\nnodes:\n  far: {type: test.hang, " << parameters << "}\n"
        << "  batches: {type: batch, from: far, size: 4}\n"
        << "  end: {type: test.sum, from: batches}\n";
    const GraphDefinition graph = load_graph(folder.file("g.yaml"), {}, registry);
    PlanOptions options;
    options.seed = graph.seed();
    Plan plan(graph, registry, options);
    Threads threads(1, io_threads);
    Ingest ingest(plan, threads);
    Engine engine(plan, threads, ingest, {});
    result.report = engine.run();
    result.skipped = ingest.skipped();
    return result;
  }

  std::string error_of(const std::string& parameters, int io_threads) {
    try {
      run(parameters, io_threads);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::data) << error.what();
      return error.what();
    }
    return "";
  }

  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
};

// Four of the reads hang; without a thread in place of each, one thread would not get past the
// first. A machine that is busy enough makes others look so, hence no exact list.
TEST_F(TimeOut, ReadsThatHangAreSkippedAndTheRestGoesOn) {
  for (const int io_threads : {1, 3}) {
    const Result result =
        run("hang_every: 10, on_error: skip, max_skipped: 36, timeout: 300ms", io_threads);
    std::set<int> skipped;
    for (const Ingest::Skipped& skip : result.skipped) {
      const std::string place = "far/away.nc, time ";
      ASSERT_THAT(skip.item, StartsWith(place));
      EXPECT_EQ(skip.error, "reading takes longer than the 0.3 s of 'timeout'");
      EXPECT_EQ(skip.node, "far");
      EXPECT_TRUE(skipped.insert(std::stoi(skip.item.substr(place.size()))).second) << skip.item;
    }
    EXPECT_THAT(skipped, IsSupersetOf({3, 13, 23, 33}));
    EXPECT_EQ(result.report.samples, 40 - static_cast<std::int64_t>(skipped.size()));
    EXPECT_EQ(result.sum, 39 * 40 / 2 - std::accumulate(skipped.begin(), skipped.end(), 0));
  }
  EXPECT_GE(abandoned_threads(), 8);
}

TEST_F(TimeOut, ReadsThatHangEndTheRun) {
  EXPECT_THAT(error_of("hang_every: 10, timeout: 300ms", 2),
              ContainsRegex("node 'far' \\(far/away.nc, time [0-9]+\\): reading takes longer than "
                            "the 0.3 s of 'timeout'"));
  EXPECT_THAT(error_of("hang_every: 4, on_error: skip, max_skipped: 2, timeout: 300ms", 2),
              ContainsRegex("[0-9]+ of 40 items of 'far' could not be read, and max_skipped allows "
                            "2:"));
}

TEST_F(TimeOut, AFileThatNeverOpensIsNamed) {
  EXPECT_THAT(error_of("hang_opening: true, timeout: 100ms", 1),
              AllOf(HasSubstr("node 'far'"),
                    HasSubstr("far/away.nc: opening takes longer than the 0.1 s of 'timeout'")));
  EXPECT_EQ(abandoned_threads(), 1);
}

TEST_F(TimeOut, WithoutALimitOneWaits) {
  std::thread later([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    gate_->open();
  });
  const Result result = run("hang_every: 10, timeout: 0s", 2);
  later.join();
  EXPECT_EQ(result.report.samples, 40);
  EXPECT_EQ(abandoned_threads(), 0);
}

TEST(OpeningFile, TellsTheOldestAndRefusesPipes) {
  EXPECT_TRUE(io::slow_openings(0).empty());
  const io::OpeningFile first("first.nc");
  {
    const io::OpeningFile second("second.nc");
    ASSERT_EQ(io::slow_openings(0).size(), 2U);
    EXPECT_EQ(io::slow_openings(0)[0].path, "first.nc");
    EXPECT_TRUE(io::slow_openings(100).empty());
  }
  const test::TempDir folder;
  const std::string pipe = folder.file("pipe.tif");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  try {
    const io::OpeningFile refused(pipe);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_EQ(error.what(), pipe + ": is a pipe, expected a file");
  }
  EXPECT_THROW(io::expand_files({pipe}), DataError);
  ASSERT_EQ(io::slow_openings(0).size(), 1U);
}

}  // namespace
}  // namespace trib::pipeline
