// Reads and files that hang, through the program.
#include <filesystem>

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

// What follows the batches of a small training.
const std::string kModel = R"(
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 8}
  channels: {type: model.aggregate, from: tokens, heads: 2}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  head:     {type: model.mae_head, from: encoder, dim: 8, depth: 1, heads: 2}
)";

class HangingReads : public TribTest {
 protected:
  HangingReads() {
    write("g.yaml", R"(seed: 3
nodes:
  images:   {type: read.synthetic, items: 40, channels: 2, size: 8, hang_at: 7, timeout: 300ms}
  batches:  {type: batch, from: images, size: 4}
  train:    {type: train, from: head, steps: 30})" +
                        kModel);
  }
};

TEST_F(HangingReads, EndTheRun) {
  const ProgramResult result = trib({"run", "g.yaml", "-q", "--run-dir", "r"});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, HasSubstr("error: node 'images' (synthetic image 7): reading takes "
                                    "longer than the 0.3 s of 'timeout'"));
  EXPECT_TRUE(exists("r/trace.json"));
}

TEST_F(HangingReads, EndTheRunOfAllRanks) {
  const ProgramResult result = mpirun(2, {"run", "g.yaml", "-q", "--set", "mesh.data=2"});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, ContainsRegex("rank [01]: error: node 'images' \\(synthetic image 7\\): "
                                        "reading takes longer than the 0.3 s"));
}

// The training goes on, and its process ends though a thread of it never does.
TEST_F(HangingReads, AreSkipped) {
  const Arguments skip{"-q", "--run-dir", "r", "--set", "images.on_error=skip"};
  const ProgramResult one = trib(Arguments{"run", "g.yaml"} + skip);
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(losses("r").size(), 30U);
  ASSERT_EQ(lines("r/skipped.jsonl").size(), 1U);
  const auto skipped = nlohmann::json::parse(lines("r/skipped.jsonl")[0]);
  EXPECT_EQ(skipped["item"], "synthetic image 7");
  EXPECT_THAT(skipped["error"].get<std::string>(), HasSubstr("longer than the 0.3 s"));
  std::filesystem::remove_all(path("r"));
  const ProgramResult two =
      mpirun(2, Arguments{"run", "g.yaml"} + skip + Arguments{"--set", "mesh.data=2"});
  EXPECT_EQ(two.exit_code, 0) << two.err;
  EXPECT_EQ(losses("r").size(), 30U);
}

// What goes through data without training waits no longer.
class HangingPasses : public TribTest {
 protected:
  HangingPasses() {
    write("g.yaml", R"(nodes:
  images: {type: read.synthetic, items: 40, channels: 2, size: 8, hang_at: 7, timeout: 300ms}
  scaled: {type: normalize, from: images}
  end:    {type: sink, from: scaled}
)");
  }
  const std::string kSays =
      "error: node 'images' (synthetic image 7): reading takes longer than the 0.3 s of 'timeout'";
  const Arguments kSkip{"--set", "images.on_error=skip"};
};

TEST_F(HangingPasses, EndStatistics) {
  const Arguments stats{"stats", "g.yaml", "--out", "s.json"};
  for (const ProgramResult& result : {trib(stats), mpirun(2, stats)}) {
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr(kSays));
    EXPECT_FALSE(exists("s.json"));
  }
  const ProgramResult skipped = trib(stats + kSkip);
  EXPECT_EQ(skipped.exit_code, 0) << skipped.err;
  EXPECT_THAT(skipped.err, HasSubstr("skipped: synthetic image 7\n"));
  EXPECT_EQ(json("s.json")["made_from"]["skipped"], 1);
}

TEST_F(HangingPasses, EndPreparing) {
  const Arguments prepare{"prepare", "g.yaml", "out", "scaled"};
  const Arguments raw{"prepare", "g.yaml", "raw", "images"};
  for (const ProgramResult& result : {trib(prepare), trib(raw), mpirun(2, raw)}) {
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr(kSays));
  }
  std::filesystem::remove_all(path("raw"));
  const ProgramResult done = trib(raw + kSkip + Arguments{"--shard-samples", "10"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(json("raw/train/index.json")["samples"], 39);
  std::vector<nlohmann::json> left_out;
  for (const char* shard : {"0", "1", "2", "3"}) {
    const auto record = json("raw/train/shard-0000" + std::string(shard) + ".json");
    left_out.insert(left_out.end(), record["skipped"].begin(), record["skipped"].end());
  }
  ASSERT_EQ(left_out.size(), 1U);
  EXPECT_EQ(left_out[0]["item"], "synthetic image 7");
  EXPECT_THAT(left_out[0]["error"].get<std::string>(), HasSubstr("longer than the 0.3 s"));
}

#ifdef TRIB_BROKEN_DISK

class HangingFiles : public TribTest {
 protected:
  HangingFiles() {
    const std::string scene = sample_data() + "/satellite/scene_00.tif";
    for (const char* name : {"a.tif", "b_lost.tif", "c.tif"}) {
      std::filesystem::copy_file(scene, path(name));
    }
    write("g.yaml", R"(nodes:
  images: {type: read.raster, files: "*.tif", timeout: 500ms}
  end:    {type: sink, from: images}
)");
  }
  ProgramResult start(const Arguments& arguments, const std::string& after) const {
    ProgramOptions options;
    options.environment = {
        {"LD_PRELOAD", TRIB_BROKEN_DISK}, {"HANG_FILE", "b_lost"}, {"HANG_AFTER", after}};
    return trib(arguments, options);
  }
};

TEST_F(HangingFiles, AreNamedWhenTheyDoNotOpen) {
  for (const char* command : {"validate", "run"}) {
    const ProgramResult result = start({command, "g.yaml"}, "0");
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_THAT(result.err, ContainsRegex("node 'images'.*b_lost.tif: opening takes longer than "
                                          "the 0.5 s of 'timeout'"));
  }
  EXPECT_FALSE(exists("runs"));
}

TEST_F(HangingFiles, AreSkippedWhenTheyDoNotOpen) {
  const Arguments skip{"--set", "images.on_error=skip"};
  const ProgramResult result =
      start(Arguments{"run", "g.yaml", "-q", "--run-dir", "r"} + skip, "0");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json("r/summary.json")["samples"], 2);
  ASSERT_EQ(lines("r/skipped.jsonl").size(), 1U);
  const auto skipped = nlohmann::json::parse(lines("r/skipped.jsonl")[0]);
  EXPECT_EQ(skipped["item"], "b_lost.tif");
  EXPECT_EQ(skipped["error"], "b_lost.tif: opening takes longer than the 0.5 s of 'timeout'");
  const ProgramResult none =
      start(Arguments{"run", "g.yaml", "-q", "--set", "images.max_skipped=0"} + skip, "0");
  EXPECT_EQ(none.exit_code, 3) << none.err;
  EXPECT_THAT(none.err, HasSubstr("1 of 3 files cannot be opened, and max_skipped allows 0; the "
                                  "last is b_lost.tif: opening takes longer"));
  // A mosaic is one image.
  const ProgramResult mosaic =
      start(Arguments{"run", "g.yaml", "-q", "--set", "images.mosaic=true"} + skip, "0");
  EXPECT_EQ(mosaic.exit_code, 3) << mosaic.err;
  EXPECT_THAT(mosaic.err, HasSubstr("b_lost.tif: opening takes longer"));
}

// A name that is no pattern is looked at where files are listed.
TEST_F(HangingFiles, AreSkippedByName) {
  const Arguments skip{"--set", "images.on_error=skip"};
  const Arguments by_name{"--set", "images.files=[a.tif, b_lost.tif, c.tif]"};
  const ProgramResult result =
      start(Arguments{"run", "g.yaml", "-q", "--run-dir", "r"} + skip + by_name, "0");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json("r/summary.json")["samples"], 2);
  EXPECT_EQ(lines("r/skipped.jsonl").size(), 1U);
  const ProgramResult none = start(
      Arguments{"run", "g.yaml", "-q", "--set", "images.max_skipped=0"} + skip + by_name, "0");
  EXPECT_EQ(none.exit_code, 3) << none.err;
  EXPECT_THAT(none.err, HasSubstr("1 of 3 files cannot be opened, and max_skipped allows 0; the "
                                  "last is b_lost.tif: opening takes longer"));
  write("b_lost.csv", "path\na.tif\nc.tif\n");
  const ProgramResult table =
      start(Arguments{"run", "g.yaml", "-q", "--set", "images.files=b_lost.csv"} + skip, "0");
  EXPECT_EQ(table.exit_code, 3) << table.err;
  EXPECT_THAT(table.err, HasSubstr("b_lost.csv: opening takes longer"));
}

// Whichever of the times a file is opened is the one that hangs. Within the library others cannot
// be read either.
TEST_F(HangingFiles, EndThePreparationWhereverItIs) {
  const std::string fields = sample_data() + "/era5/";
  std::filesystem::copy_file(fields + "pl_01.nc", path("a.nc"));
  std::filesystem::copy_file(fields + "pl_02.nc", path("b_lost.nc"));
  write("fields.yaml", R"(nodes:
  fields: {type: read.netcdf, files: [a.nc, b_lost.nc], timeout: 300ms,
           on_error: skip, max_skipped: 1}
  end:    {type: sink, from: fields}
)");
  for (int after = 0; after < 12; ++after) {
    const ProgramResult result = start({"validate", "fields.yaml"}, std::to_string(after));
    EXPECT_THAT(result.exit_code, testing::AnyOf(0, 3)) << after << ": " << result.err;
  }
}

// One thread at a time is in these libraries; nobody hangs there with the door locked.
TEST_F(HangingFiles, OfLibrariesWithOneLockAreSkipped) {
  const std::string& data = sample_data();
  std::filesystem::copy_file(data + "/hyperspectral/maize_field_000.h5", path("a.h5"));
  std::filesystem::copy_file(data + "/hyperspectral/maize_field_001.h5", path("b_lost.h5"));
  std::filesystem::copy_file(data + "/hyperspectral/maize_field_002.h5", path("c.h5"));
  write("cubes.yaml", R"(nodes:
  cubes: {type: read.cube, files: "*.h5", timeout: 500ms, on_error: skip}
  end:   {type: sink, from: cubes}
)");
  const ProgramResult result = start({"run", "cubes.yaml", "-q", "--run-dir", "r"}, "0");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json("r/summary.json")["samples"], 2);
  EXPECT_EQ(lines("r/skipped.jsonl").size(), 1U);
}

// Files that are lost when a training is under way. The labels of their windows are read by
// libhdf5, which hangs with its lock taken.
class LostFiles : public TribTest {
 protected:
  LostFiles() {
    std::filesystem::copy_file(sample_data() + "/hyperspectral/maize_field_000.h5",
                               path("lost.h5"));
    write("g.yaml", R"(nodes:
  cubes:    {type: read.cube, files: lost.h5, channels: ["1..4"], sampling: grid, size: 8, labels: labels, cache: 0 B, timeout: 1s}
  batches:  {type: batch, from: cubes, size: 4}
  train:    {type: train, from: head, steps: 1000000})" +
                        kModel);
  }
  ProgramResult train(const Arguments& more, const std::string& reads) const {
    std::filesystem::remove_all(path("r"));
    std::filesystem::remove(path("lost"));
    ProgramOptions options;
    options.environment = {
        {"LD_PRELOAD", TRIB_BROKEN_DISK}, {"HANG_FILE", "lost.h5"}, {"READ_FLAG", path("lost")}};
    if (reads == "fail") options.environment["READ_FAILS"] = "1";
    options.timeout = 30;
    options.watch = [this](pid_t) {
      if (exists("r/metrics.csv") && lines("r/metrics.csv").size() > 1) write("lost", "");
    };
    return trib(Arguments{"run", "g.yaml", "-q", "--run-dir", "r"} + more, options);
  }
  const std::string kItem = "lost.h5, rows [0-9]+..[0-9]+, columns [0-9]+..[0-9]+";
};

TEST_F(LostFiles, EndTheRun) {
  const ProgramResult hanging = train({}, "hang");
  EXPECT_EQ(hanging.exit_code, 3) << hanging.err;
  EXPECT_THAT(hanging.err, ContainsRegex("node 'cubes' \\(" + kItem +
                                         "\\): reading takes longer than the 1 s of 'timeout'"));
  const ProgramResult failing = train({}, "fail");
  EXPECT_EQ(failing.exit_code, 3) << failing.err;
  EXPECT_THAT(failing.err, ContainsRegex("node 'cubes' \\(" + kItem + "\\): lost.h5: "));
}

TEST_F(LostFiles, AreSkippedUpToALimit) {
  const Arguments skip{"--set", "cubes.on_error=skip", "--set", "cubes.max_skipped=2"};
  for (const char* reads : {"hang", "fail"}) {
    const ProgramResult result = train(skip, reads);
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_THAT(result.err, ContainsRegex("3 of [0-9]+ items of 'cubes' could not be read, and "
                                          "max_skipped allows 2"));
    EXPECT_THAT(result.err, ContainsRegex(kItem));
  }
}

// A file that does not open when it is read keeps nobody else from theirs, and not from writing.
TEST_F(HangingFiles, AreSkippedWhenTheyAreRead) {
  const std::string fields = sample_data() + "/era5/";
  std::filesystem::copy_file(fields + "sfc_01.nc", path("a.nc"));
  std::filesystem::copy_file(fields + "sfc_02.nc", path("b_lost.nc"));
  write("fields.yaml", R"(ingest: {threads: 1}
nodes:
  fields: {type: read.netcdf, files: [a.nc, b_lost.nc], time_stride: 120, order: sequential,
           timeout: 500ms, on_error: skip, max_skipped: 1}
  end:    {type: write.netcdf, from: fields}
)");
  constexpr int kOpenedToPrepare = 12;  // times
  const auto run_after = [&](int opened, const std::string& folder) {
    return start({"run", "fields.yaml", "-q", "--run-dir", folder}, std::to_string(opened));
  };
  const ProgramResult result = run_after(kOpenedToPrepare, "r");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json("r/summary.json")["samples"], 1);
  ASSERT_EQ(lines("r/skipped.jsonl").size(), 1U);
  EXPECT_THAT(lines("r/skipped.jsonl")[0], HasSubstr("reading takes longer"));
  // If it hangs where one thread at a time is let in, nobody writes: the run ends.
  const ProgramResult inside = run_after(kOpenedToPrepare + 1, "inside");
  EXPECT_EQ(inside.exit_code, 3) << inside.err;
  EXPECT_THAT(inside.err, HasSubstr("one that hangs is in there, opening b_lost.nc"));
}

#endif

}  // namespace
}  // namespace trib::test
