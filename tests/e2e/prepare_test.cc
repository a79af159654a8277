// `trib prepare` and training from what it wrote.
#include <algorithm>
#include <map>

#include "tests/e2e/trib_test.h"
#include "tests/io/netcdf_writer.h"

namespace trib::test {
namespace {

namespace fs = std::filesystem;

/// The forecaster of kForecastGraph from prepared samples.
constexpr const char* kPreparedForecast = R"(seed: 5
nodes:
  ready:    {type: read.prepared, path: ready}
  batches:  {type: batch, from: ready, size: 8}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 16}
  channels: {type: model.aggregate, from: tokens, kind: linear}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  forecast: {type: model.forecast_head, from: encoder, depth: 1}
  train:    {type: train, from: forecast, steps: 20, lr: 2e-3, evaluate_every: 10, evaluate_samples: 8}
)";

constexpr const char* kPreparedMae = R"(seed: 3
nodes:
  ready:    {type: read.prepared, path: ready}
  batches:  {type: batch, from: ready, size: 8}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 16}
  channels: {type: model.aggregate, from: tokens, heads: 2}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  recon:    {type: model.mae_head, from: encoder, dim: 16, depth: 1, heads: 2}
  train:    {type: train, from: recon, steps: 20, lr: 2e-3, evaluate_every: 10, evaluate_samples: 16}
)";

class PrepareTest : public TribTest {
 protected:
  PrepareTest() {
    write("files.yaml", kForecastGraph);
    write("ready.yaml", kPreparedForecast);
    write("mae.yaml", kMaeGraph);
    write("ready_mae.yaml", kPreparedMae);
  }

  ProgramResult prepare(const std::string& graph, const std::string& out,
                        const Arguments& more = {}, int ranks = 1) const {
    Arguments arguments{"prepare", graph, out, "-q"};
    if (graph == "files.yaml")
      arguments = arguments + Arguments{"--set", "vars.data=" + sample_data()};
    return ranks == 1 ? trib(arguments + more) : mpirun(ranks, arguments + more);
  }
  void expect_prepared(const std::string& graph, const std::string& out, const Arguments& more = {},
                       int ranks = 1) const {
    const ProgramResult result = prepare(graph, out, more, ranks);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  /// Contents of all files below a folder by their paths in it.
  std::map<std::string, std::string> tree(const std::string& folder) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(path(folder))) {
      if (!entry.is_regular_file()) continue;
      files[fs::relative(entry.path(), path(folder)).string()] = read_text(entry.path().string());
    }
    return files;
  }
  std::vector<std::string> names(const std::string& folder) const {
    std::vector<std::string> list;
    for (const auto& [name, contents] : tree(folder)) list.push_back(name);
    return list;
  }
};

TEST_F(PrepareTest, ATrainingHasTheLossesThatItHasFromTheFiles) {
  run("files.yaml", "from_files", {"--set", "vars.data=" + sample_data()});
  expect_prepared("files.yaml", "ready", {"--shard-samples", "50"});
  run("ready.yaml", "from_ready");
  ASSERT_EQ(losses("from_files").size(), 20U);
  for (const char* name : {"loss", "grad_norm", "eval_loss", "eval_rmse_t2m"}) {
    EXPECT_EQ(column("from_ready", name), column("from_files", name)) << name;
  }
  // Its statistics are those of the scaled samples.
  const auto t2m = json("ready/train/statistics.json")["channels"]["t2m"];
  EXPECT_NEAR(t2m["mean"].get<double>(), 0, 0.1);
  EXPECT_NEAR(t2m["std"].get<double>(), 1, 0.1);

  // Compressed, on two ranks with channels of their own, in blocks: other ways to the same samples.
  expect_prepared("files.yaml", "packed", {"--compress", "zstd:1"});
  run("ready.yaml", "from_packed", {"--set", "ready.path=packed"});
  EXPECT_EQ(losses("from_packed"), losses("from_files"));
  run("ready.yaml", "blocks", {"--set", "ready.order=blocks", "--set", "ready.block=16"});
  EXPECT_NE(losses("blocks"), losses("from_files"));
}

TEST_F(PrepareTest, ShuffledEpochsAndMasksAreThoseOfTheStream) {
  run("mae.yaml", "from_files");
  expect_prepared("mae.yaml", "ready", {"--epochs", "2", "--shard-samples", "40"});
  run("ready_mae.yaml", "from_ready");
  EXPECT_EQ(losses("from_ready"), losses("from_files"));
  EXPECT_EQ(column("from_ready", "eval_loss"), column("from_files", "eval_loss"));
  EXPECT_EQ(json("ready/train/index.json")["samples"], 192);
  EXPECT_EQ(json("ready/train/index.json")["shards"].size(), 5U);
  EXPECT_EQ(json("ready/eval/index.json")["samples"], 24);
}

TEST_F(PrepareTest, PartsRanksAndASecondAttemptMakeTheSameFiles) {
  const Arguments small{"--shard-samples", "16"};
  expect_prepared("mae.yaml", "whole", small);
  const auto whole = tree("whole");
  ASSERT_EQ(whole.count("train/x-00005.npy"), 1U);

  expect_prepared("mae.yaml", "ranks", small, 3);
  EXPECT_EQ(tree("ranks"), whole);

  expect_prepared("mae.yaml", "parts", small + Arguments{"--part", "2/3"});
  EXPECT_FALSE(exists("parts/train/index.json"));
  const ProgramResult early = prepare("mae.yaml", "parts", small + Arguments{"--finish"});
  EXPECT_EQ(early.exit_code, 3);
  EXPECT_THAT(early.err, HasSubstr("parts/train: 4 of 6 shards are missing, the first is 0"));
  const ProgramResult unfinished =
      trib({"validate", "ready_mae.yaml", "--set", "ready.path=parts"});
  EXPECT_EQ(unfinished.exit_code, 3);
  EXPECT_THAT(unfinished.err, HasSubstr("parts/train: is not finished"));
  for (const char* part : {"3/3", "1/3", "3/3"}) {
    expect_prepared("mae.yaml", "parts", small + Arguments{"--part", part});
  }
  EXPECT_EQ(tree("parts"), whole);

  // A killed run leaves shards without a record, and files under other names.
  fs::remove(path("parts/train/shard-00001.json"));
  fs::remove(path("parts/train/index.json"));
  fs::resize_file(path("parts/train/x-00003.npy"), 1000);
  write("parts/train/x-00001.npy.77.part", "rest");
  const auto time_of = [&](const char* name) { return fs::last_write_time(path(name)); };
  const auto before = time_of("parts/train/x-00002.npy");
  expect_prepared("mae.yaml", "parts", small);
  EXPECT_EQ(time_of("parts/train/x-00002.npy"), before);
  EXPECT_EQ(tree("parts"), whole);
}

TEST_F(PrepareTest, ANodeOnTheWayIsPreparedAsItIsThere) {
  expect_prepared("mae.yaml", "raw", {"images", "--split", "train"});
  EXPECT_TRUE(json("raw/train/index.json")["normalized_by"].is_null());
  EXPECT_FALSE(exists("raw/eval"));
  write("raw.yaml", R"(
extends: ready_mae.yaml
nodes:
  ready:   {path: raw}
  scaled:  {type: normalize, from: ready, samples: 40}
  batches: {from: scaled}
  train:   {evaluate_every: 0, steps: 3}
)");
  const ProgramResult result = trib({"run", "raw.yaml", "--run-dir", "r", "-q"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(PrepareTest, DamageIsFoundByVerifyAndByATraining) {
  expect_prepared("mae.yaml", "ready", {"--shard-samples", "48"});
  const ProgramResult good = trib({"prepare", "--verify", "ready"});
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("ready/eval: all checksums agree"));
  {
    std::fstream file(path("ready/train/x-00001.npy"),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(20'000);
    file.put('\x55');
  }
  const ProgramResult bad = trib({"prepare", "--verify", "ready"});
  EXPECT_EQ(bad.exit_code, 3);
  EXPECT_THAT(bad.out, HasSubstr("ready/train/x-00001.npy: its checksum is"));
  const ProgramResult run = trib({"run", "ready_mae.yaml", "--run-dir", "r", "-q"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("ready/train/x-00001.npy: sample 3: channel 'c001' is damaged"));
  const ProgramResult skips = trib({"run", "ready_mae.yaml", "--run-dir", "s", "-q", "--set",
                                    "ready.on_error=skip", "--set", "ready.max_skipped=2"});
  EXPECT_EQ(skips.exit_code, 0) << skips.err;
  EXPECT_EQ(lines("s/skipped.jsonl").size(), 1U);
}

TEST_F(PrepareTest, SkippedImagesAreListedAndLeftOut) {
  const Arguments broken{"--set", "images.fail_at=5", "--set", "images.on_error=skip"};
  expect_prepared("mae.yaml", "ready", broken);
  EXPECT_EQ(json("ready/train/index.json")["samples"], 95);
  const auto record = json("ready/train/shard-00000.json");
  ASSERT_EQ(record["skipped"].size(), 1U);
  EXPECT_EQ(record["skipped"][0]["item"], "synthetic image 5");
  EXPECT_EQ(trib({"prepare", "--verify", "ready"}).exit_code, 0);
  run("mae.yaml", "from_files", broken + Arguments{"--set", "train.steps=11"});
  run("ready_mae.yaml", "from_ready", {"--set", "train.steps=11"});
  EXPECT_EQ(losses("from_ready").size(), 11U);
}

TEST_F(PrepareTest, MistakesSayWhatToDo) {
  const auto refusal = [&](const Arguments& arguments) {
    const ProgramResult result = trib(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    return result.err;
  };
  expect_prepared("mae.yaml", "ready");
  EXPECT_THAT(refusal({"prepare", "mae.yaml", "ready", "--set", "seed=4"}),
              HasSubstr("ready/train: something else is being prepared there"));
  EXPECT_THAT(refusal({"prepare", "mae.yaml"}), HasSubstr("OUT"));
  EXPECT_THAT(refusal({"prepare", "mae.yaml", "x", "--compress", "zstd:99"}),
              HasSubstr("--compress zstd:99"));
  EXPECT_THAT(refusal({"prepare", "mae.yaml", "x", "colour"}), HasSubstr("no node 'colour'"));
  EXPECT_THAT(refusal({"prepare", "mae.yaml", "x", "tokens"}), HasSubstr("delivers model steps"));
  EXPECT_THAT(trib({"validate", "ready_mae.yaml", "--set", "ready.path=nowhere"}).err,
              HasSubstr("nowhere: holds no prepared samples; make them with: trib prepare GRAPH"));
  EXPECT_EQ(trib({"prepare", "--verify", "nowhere"}).exit_code, 3);
}

TEST_F(PrepareTest, GapsInTheSeriesAreToldByAllWhoReadIt) {
  GridFixture fixture;
  fixture.hours = {0, 1, 2};
  write_grid(path("a.nc"), fixture);
  fixture.hours = {10, 11, 12};
  write_grid(path("b.nc"), fixture);
  write("gap.yaml", R"(nodes:
  fields: {type: read.netcdf, files: [a.nc, b.nc]}
  scaled: {type: normalize, from: fields}
  end:    {type: sink, from: scaled}
)");
  const ProgramResult told = trib({"run", "gap.yaml", "-q"});
  const std::string warning = told.err.substr(0, told.err.find('\n') + 1);
  EXPECT_THAT(warning, HasSubstr("warning: node 'fields': "));
  EXPECT_THAT(warning, HasSubstr("gap"));
  for (const Arguments& command :
       {Arguments{"validate"}, Arguments{"stats", "--out", "s.json", "-q"},
        Arguments{"prepare", "-q"}}) {
    Arguments arguments = command + Arguments{"gap.yaml"};
    if (command.front() == "prepare") arguments = arguments + Arguments{"out", "scaled"};
    const ProgramResult result = trib(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, warning) << command.front();
  }
  const ProgramResult two = mpirun(2, {"stats", "gap.yaml", "--out", "t.json", "-q"});
  EXPECT_EQ(two.err, warning) << "once, however many ranks";
}

}  // namespace
}  // namespace trib::test
