// Every damaged file of the test data, and reads that hang, through the program.
#include <filesystem>

#include <fmt/format.h>

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

struct BadFile {
  std::string name;
  std::string reader;
  std::string file;  ///< below the test data
  std::string good;  ///< one of the same channels
  std::string says;  ///< in the message
};

class BadFiles : public TribTest, public testing::WithParamInterface<BadFile> {};

TEST_P(BadFiles, EndTheRunOrAreSkipped) {
  const BadFile& bad = GetParam();
  TRIB_NEEDS_DATA(bad.file);
  TRIB_NEEDS_DATA(bad.good);
  const std::string name = std::filesystem::path(bad.file).filename();
  const std::string good = path("good_" + std::filesystem::path(bad.good).filename().string());
  std::filesystem::copy_file(data_file(bad.file), path(name));
  std::filesystem::copy_file(data_file(bad.good), good);
  write("bad.yaml", fmt::format("nodes:\n  images: {{type: {}, files: {}}}\n"
                                "  end: {{type: sink, from: images}}\n",
                                bad.reader, name));
  const ProgramResult failed = trib({"run", "bad.yaml", "-q"});
  EXPECT_EQ(failed.exit_code, 3) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr(name));
  EXPECT_THAT(failed.err, HasSubstr(bad.says));
  write("skip.yaml",
        fmt::format("nodes:\n"
                    "  images: {{type: {0}, files: [{1}, {2}], on_error: skip, max_skipped: 1}}\n"
                    "  end: {{type: sink, from: images}}\n",
                    bad.reader, name, good));
  const ProgramResult skipped = trib({"run", "skip.yaml", "-q", "--run-dir", "s"});
  EXPECT_EQ(skipped.exit_code, 0) << skipped.err;
  for (const std::string& line : lines("s/skipped.jsonl")) {
    const auto one = nlohmann::json::parse(line);
    EXPECT_THAT(one["item"].get<std::string>(), HasSubstr(name));
    EXPECT_THAT(one["error"].get<std::string>(), HasSubstr(bad.says));
    EXPECT_EQ(one["node"], "images");
    EXPECT_EQ(one["rank"], 0);
  }
  EXPECT_EQ(lines("s/skipped.jsonl").size(), 1U);
  EXPECT_GE(json("s/summary.json")["samples"], 1);
}

const std::string kByte = "satellite/geotiff_variants/rotated.tif";
const std::string kColours = "satellite/geotiff_variants/RGB.byte.tif";

INSTANTIATE_TEST_SUITE_P(
    Real, BadFiles,
    testing::Values(BadFile{"packbits", "read.raster", "satellite/corrupt/byte_buggy_packbits.tif",
                            kByte, "cannot be read"},
                    BadFile{"zstd", "read.raster", "satellite/corrupt/byte_zstd_corrupted.tif",
                            kByte, "cannot be read"},
                    BadFile{"jpeg_tile", "read.raster", "satellite/corrupt/corrupt.tif", kColours,
                            "cannot be read"},
                    BadFile{"deflate", "read.raster",
                            "satellite/corrupt/corrupted_deflate_singlestrip.tif", kByte,
                            "cannot be read"},
                    BadFile{"jpeg2000", "read.raster",
                            "satellite/corrupt/small_world_truncated.jp2", kColours,
                            "damaged or truncated"},
                    BadFile{"truncated", "read.netcdf", "era5/truncated_cds_classic.nc",
                            "era5/era5_t2m_uk_hourly_201903.nc", "truncated"},
                    BadFile{"zip", "read.netcdf", "era5/era5_cds_zip_misnamed.nc",
                            "era5/era5_t2m_uk_hourly_201903.nc", "ZIP archive"},
                    BadFile{"not_a_cube", "read.cube", "era5/truncated_cds_classic.nc",
                            "hyperspectral/enmap_potsdam_tile_128_0_224band.h5", "truncated"},
                    BadFile{"not_netcdf", "read.netcdf", "satellite/corrupt/corrupt.tif",
                            "era5/era5_t2m_uk_hourly_201903.nc", "expected NetCDF"}),
    [](const auto& file) { return file.param.name; });

class BrokenFiles : public TribTest {};

class HangingReads : public TribTest {
 protected:
  HangingReads() {
    write("g.yaml", R"(seed: 3
nodes:
  images:   {type: read.synthetic, items: 40, channels: 2, size: 8, hang_at: 7, timeout: 300ms}
  batches:  {type: batch, from: images, size: 4}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 8}
  channels: {type: model.aggregate, from: tokens, heads: 2}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  head:     {type: model.mae_head, from: encoder, dim: 8, depth: 1, heads: 2}
  train:    {type: train, from: head, steps: 30}
)");
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

#ifdef TRIB_HANG_ON_OPEN

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
        {"LD_PRELOAD", TRIB_HANG_ON_OPEN}, {"HANG_FILE", "b_lost"}, {"HANG_AFTER", after}};
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

#endif

// Scenes of one file a band.
TEST_F(BrokenFiles, OfAScenePutTheSceneAway) {
  const std::string scene = sample_data() + "/satellite/scene_00.tif";
  write("band.yaml", "nodes:\n  image: {type: read.raster, files: '" + scene +
                         "', channels: [B04]}\n"
                         "  end: {type: write.raster, from: image, path: '" +
                         path("band.tif") + "'}\n");
  ASSERT_EQ(trib({"run", "band.yaml", "-q"}).exit_code, 0);
  for (const char* name : {"s1_red", "s1_nir", "s2_red", "s2_nir", "s3_red", "s3_nir"}) {
    std::filesystem::copy_file(path("band.tif"), path(std::string(name) + ".tif"));
  }
  write("s2_nir.tif", "no raster");
  write("g.yaml", R"(nodes:
  images: {type: read.raster, files: "s*.tif", bands: ["red=*_red.tif", "nir=*_nir.tif"]}
  end:    {type: sink, from: images}
)");
  const Arguments run{"run", "g.yaml", "-q", "--run-dir", "r"};
  const Arguments skip{"--set", "images.on_error=skip"};
  const ProgramResult failed = trib(run);
  EXPECT_EQ(failed.exit_code, 3) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("s2_nir.tif"));
  const ProgramResult result = trib(run + skip);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json("r/summary.json")["samples"], 2);
  ASSERT_EQ(lines("r/skipped.jsonl").size(), 1U);
  const auto skipped = nlohmann::json::parse(lines("r/skipped.jsonl")[0]);
  EXPECT_EQ(skipped["item"], "scene 's2'");
  EXPECT_THAT(skipped["error"].get<std::string>(), HasSubstr("s2_nir.tif"));

  // Counted as scenes, not as files.
  const ProgramResult too_many = trib(
      {"validate", "g.yaml", "--set", "images.on_error=skip", "--set", "images.max_skipped=0"});
  EXPECT_EQ(too_many.exit_code, 3);
  EXPECT_THAT(too_many.err,
              HasSubstr("1 of 3 scenes cannot be opened, and max_skipped allows 0; the last is"));
}

// Classes keep their numbers, and a table its labels.
TEST_F(BrokenFiles, AreLeftOutOfTablesAndFolders) {
  const std::string scene = sample_data() + "/satellite/scene_00.tif";
  for (const char* folder : {"barley", "maize", "wheat"}) {
    std::filesystem::create_directories(path(folder));
    std::filesystem::copy_file(scene, path(folder + std::string("/a.tif")));
  }
  write("barley/a.tif", "no raster");
  write("files.csv", "path,label\nbarley/a.tif,0\nmaize/a.tif,1\nwheat/a.tif,2\n");
  write("g.yaml", R"(nodes:
  images:  {type: read.raster, files: "*/a.tif", on_error: skip, label_from: folder, order: sequential}
  end:     {type: write.tensors, from: images}
)");
  run("g.yaml", "folders");
  run("g.yaml", "table", {"--set", "images.files=files.csv", "--set", "images.label_from="});
  for (const char* folder : {"folders", "table"}) {
    EXPECT_EQ(lines(std::string(folder) + "/skipped.jsonl").size(), 1U);
    EXPECT_EQ(json(std::string(folder) + "/summary.json")["samples"], 2);
    const std::string tensors =
        text(std::string(folder) + "/tensors/end/sample-00000000.safetensors");
    EXPECT_THAT(tensors.substr(0, 4096), HasSubstr(R"(maize/a.tif\",\"label\":1)"));
  }
}

// A part of a mosaic is a part of one image.
TEST_F(BrokenFiles, EndAMosaic) {
  const std::string scene = sample_data() + "/satellite/scene_00.tif";
  for (const char* name : {"a.tif", "c.tif"}) std::filesystem::copy_file(scene, path(name));
  write("b.tif", "no raster");
  write("g.yaml", R"(nodes:
  images: {type: read.raster, files: "*.tif", mosaic: true, on_error: skip}
  end:    {type: sink, from: images}
)");
  const ProgramResult result = trib({"validate", "g.yaml"});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, HasSubstr("b.tif"));
}

}  // namespace
}  // namespace trib::test
