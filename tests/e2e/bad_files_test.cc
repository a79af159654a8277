// Damaged files, and every one of the test data, through the program.
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
