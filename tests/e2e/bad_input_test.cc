// Wrong graphs and damaged files end with the right exit code and a message that says where.

#include <cmath>
#include <filesystem>

#include "tests/e2e/trib_test.h"
#include "tests/io/netcdf_writer.h"

namespace trib::test {
namespace {

class BadInput : public TribTest {
 protected:
  /// Both `run` and `validate` must refuse the graph with this exit code and these messages.
  void expect_refused(const std::string& graph, int exit_code,
                      const std::vector<std::string>& messages) const {
    write("g.yaml", graph);
    for (const char* command : {"run", "validate"}) {
      const ProgramResult result = trib({command, "g.yaml"});
      EXPECT_EQ(result.exit_code, exit_code) << command;
      EXPECT_EQ(result.err.substr(0, 7), "error: ");
      for (const std::string& message : messages) {
        EXPECT_THAT(result.err, HasSubstr(message)) << command;
      }
    }
    EXPECT_FALSE(exists("runs")) << "a refused graph leaves no run folder";
  }
  /// `validate`, which reads no pixels, must accept the graph, and `run` must refuse it.
  ProgramResult refused_when_read(const std::string& graph) const {
    write("g.yaml", graph);
    const ProgramResult validated = trib({"validate", "g.yaml"});
    EXPECT_EQ(validated.exit_code, 0) << validated.err;
    ProgramResult result = trib({"run", "g.yaml"});
    EXPECT_EQ(result.exit_code, 3) << result.err;
    return result;
  }
};

TEST_F(BadInput, MisspeltStageAndParameter) {
  expect_refused(R"(nodes:
  images: {type: read.synthtic, items: 8}
  pieces: {type: crop, from: images, sice: 8}
  end:    {type: sink, from: peices, cuont: 1}
)",
                 2,
                 {"g.yaml:2:18: node 'images': stage type 'read.synthtic' is unknown; did you mean "
                  "'read.synthetic'?",
                  "g.yaml:3:38: node 'pieces': parameter 'sice' is unknown; did you mean 'size'?",
                  "node 'pieces': parameter 'size' is missing; expected [height, width]",
                  "g.yaml:4:30: node 'end': 'from' names node 'peices', which does not exist; did "
                  "you mean 'pieces'?",
                  "g.yaml:4:38: node 'end': parameter 'cuont' is unknown; did you mean 'count'?"});
}

TEST_F(BadInput, DuplicateKey) {
  expect_refused(R"(nodes:
  images: {type: read.synthetic, items: 8, items: 9}
  end:    {type: sink, from: images}
)",
                 2, {"g.yaml:2:44: key 'nodes.images.items' is given twice, first at g.yaml:2:34"});
}

TEST_F(BadInput, Cycle) {
  expect_refused(R"(nodes:
  images: {type: read.synthetic}
  a:      {type: crop, from: b, size: 8}
  b:      {type: crop, from: a, size: 8}
  end:    {type: sink, from: b}
)",
                 2, {"g.yaml:3:30: node 'a': is part of a cycle: a -> b -> a"});
}

TEST_F(BadInput, WrongTypesAndRanges) {
  expect_refused(
      R"(nodes:
  images:  {type: read.synthetic, items: many, delay: 3 apples, holdout: 1.5}
  pieces:  {type: crop, from: images, size: [8, 8, 8], mode: gird}
  batches: {type: batch, from: pieces, size: 0}
  end:     {type: sink, from: batches}
)",
      2,
      {"parameter 'items' is 'many'; expected an integer of at least 1",
       "parameter 'delay' is '3 apples'; expected a duration such as 6h, 90m or 45s",
       "parameter 'holdout' is '1.5'; expected a number of at least 0 and below 1",
       "parameter 'size' is a list of 3; expected [height, width]",
       "parameter 'mode' is 'gird'; expected one of random, grid; did you mean 'grid'?",
       "g.yaml:4:46: node 'batches': parameter 'size' is '0'; expected an integer of at least 1"});
}

// Nobody means them, and making so many would take for ever.
TEST_F(BadInput, HugeNumbers) {
  write("g.yaml", kMaeGraph);
  for (const std::string set : {"encoder.depth=100000000", "images.channels=100000000"}) {
    const ProgramResult result = trib({"validate", "g.yaml", "--set", set});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr("--set " + set));
    EXPECT_THAT(result.err, HasSubstr("expected an integer from"));
  }
}

TEST_F(BadInput, StagesThatDoNotFitTogether) {
  expect_refused(R"(nodes:
  images:  {type: read.synthetic, size: 16}
  pieces:  {type: crop, from: images, size: 32}
  coarse:  {type: regrid, from: images}
  batches: {type: batch, from: images}
  scaled:  {type: normalize, from: batches}
  e1:      {type: sink, from: pieces}
  e2:      {type: sink, from: coarse}
  e3:      {type: sink, from: scaled}
)",
                 2,
                 {"g.yaml:3:3: node 'pieces': a piece of 32x32 does not fit into the 16x16",
                  "g.yaml:4:3: node 'coarse': needs fields on a latitude-longitude grid",
                  "g.yaml:6:3: node 'scaled': needs samples, but 'batches' delivers batches"});
}

TEST_F(BadInput, MissingFilesOfAllReaders) {
  expect_refused(R"(nodes:
  images: {type: read.raster, files: "absent_*.tif"}
  fields: {type: read.netcdf, files: absent.nc}
  cubes:  {type: read.cube, files: absent.h5}
  e1:     {type: sink, from: images}
  e2:     {type: sink, from: fields}
  e3:     {type: sink, from: cubes}
)",
                 3,
                 {"g.yaml:2:3: node 'images': 'absent_*.tif' matches no file",
                  "g.yaml:3:3: node 'fields': 'absent.nc' matches no file",
                  "g.yaml:4:3: node 'cubes': 'absent.h5' matches no file"});
}

TEST_F(BadInput, MissingGraph) {
  for (const char* command : {"run", "validate", "show"}) {
    const ProgramResult result = trib({command, "absent.yaml"});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr("cannot read 'absent.yaml': No such file or directory"));
  }
}

TEST_F(BadInput, MisspeltSetOption) {
  write("g.yaml", kMaeGraph);
  for (const auto& [set, message] : std::vector<std::pair<std::string, std::string>>{
           {"batches.sise=3", "parameter 'sise' is unknown; did you mean 'size'?"},
           {"bathces.size=3", "node 'bathces' is unknown; did you mean 'batches'?"},
           {"vars.x=3", "variable 'x' is not defined under vars"},
           {"batches", "expected NODE.PARAMETER=VALUE"}}) {
    const ProgramResult result = trib({"run", "g.yaml", "--set", set});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr("--set " + set));
    EXPECT_THAT(result.err, HasSubstr(message));
  }
}

TEST_F(BadInput, MisspeltChannels) {
  const std::string& data = sample_data();
  expect_refused(
      "nodes:\n"
      "  images: {type: read.raster, files: '" +
          data +
          "/satellite/*.tif', "
          "channels: [B02, BB04]}\n"
          "  fields: {type: read.netcdf, files: '" +
          data +
          "/era5/*.nc', channels: [z, t2n]}\n"
          "  cubes:  {type: read.cube, files: '" +
          data +
          "/hyperspectral/*.h5', "
          "channels: 2000nm..2100nm}\n"
          "  e1:     {type: sink, from: images}\n"
          "  e2:     {type: sink, from: fields}\n"
          "  e3:     {type: sink, from: cubes}\n",
      2,
      {"node 'images': " + data +
           "/satellite/scene_00.tif: unknown channel 'BB04', did "
           "you mean 'B04'?",
       "no channel fits \"t2n\", did you mean 't2m'?; it offers z_500, z_850",
       "no channel lies in '2000nm..2100nm'; wavelengths are 400nm..1000nm"});
}

TEST_F(BadInput, NetcdfWithoutTheVariableAndCubeOfAnotherRank) {
  const std::string& data = sample_data();
  expect_refused(
      "nodes:\n"
      "  fields: {type: read.netcdf, files: '" +
          data +
          "/era5/sfc_01.nc', channels: q}\n"
          "  absent: {type: read.cube, files: '" +
          data +
          "/hyperspectral/*.h5', dataset: cube}\n"
          "  flat:   {type: read.cube, files: '" +
          data +
          "/hyperspectral/*.h5', "
          "dataset: wavelength}\n"
          "  e1:     {type: sink, from: fields}\n"
          "  e2:     {type: sink, from: absent}\n"
          "  e3:     {type: sink, from: flat}\n",
      2,
      {"sfc_01.nc: no channel fits \"q\"", "it offers t2m, u10, v10",
       "maize_field_000.h5: has no dataset \"cube\"; it has /labels",
       "maize_field_000.h5/wavelength has 1 axes [200], expected 3 (y, x, channel)"});
}

TEST_F(BadInput, TruncatedGeotiff) {
  const std::string whole = sample_data() + "/satellite/scene_00.tif";
  std::filesystem::copy_file(whole, path("half.tif"));
  std::filesystem::resize_file(path("half.tif"), std::filesystem::file_size(whole) / 2);
  const ProgramResult result = refused_when_read(R"(nodes:
  images: {type: read.raster, files: half.tif}
  end:    {type: sink, from: images}
)");
  EXPECT_THAT(result.err,
              HasSubstr("error: node 'images' (half.tif, rows 0..255, columns 0..255): half.tif: "
                        "channel 'B0"));
  EXPECT_THAT(result.err, HasSubstr("cannot be read in [y 0..256, x 0..256)"));
}

TEST_F(BadInput, SkippedFilesAreListed) {
  const std::string whole = sample_data() + "/satellite/scene_00.tif";
  std::filesystem::copy_file(whole, path("a.tif"));
  std::filesystem::copy_file(whole, path("b.tif"));
  std::filesystem::resize_file(path("b.tif"), std::filesystem::file_size(whole) / 2);
  write("g.yaml", R"(nodes:
  images: {type: read.raster, files: [a.tif, b.tif], on_error: skip}
  end:    {type: sink, from: images}
)");
  const ProgramResult result = trib({"run", "g.yaml"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("1 images skipped, see skipped.jsonl"));
  const auto skipped = nlohmann::json::parse(text("runs/g/skipped.jsonl"));
  EXPECT_EQ(skipped["node"], "images");
  EXPECT_EQ(skipped["item"], "b.tif, rows 0..255, columns 0..255");
  EXPECT_THAT(skipped["error"].get<std::string>(), HasSubstr("b.tif: channel 'B0"));
  EXPECT_EQ(json("runs/g/summary.json")["samples"], 1);
}

TEST_F(BadInput, FieldsWithoutAnyValue) {
  GridFixture fixture;
  fixture.start = std::nan("");
  write_grid(path("empty.nc"), fixture);
  const ProgramResult result = refused_when_read(R"(nodes:
  fields: {type: read.netcdf, files: empty.nc}
  end:    {type: sink, from: fields}
)");
  EXPECT_THAT(result.err, HasSubstr("error: node 'fields' (empty.nc, time 0 of 1): empty.nc"));
  EXPECT_THAT(result.err, HasSubstr("t2m"));
}

TEST_F(BadInput, NothingToMeasure) {
  GridFixture fixture;
  fixture.start = std::nan("");
  write_grid(path("empty.nc"), fixture);
  const ProgramResult result = refused_when_read(R"(nodes:
  fields: {type: read.netcdf, files: empty.nc, allow_empty_fields: true}
  scaled: {type: normalize, from: fields}
  end:    {type: sink, from: scaled}
)");
  EXPECT_THAT(result.err,
              HasSubstr("node 'scaled': channel 't2m' has no value in the samples measured"));
}

TEST_F(BadInput, FailureWhileMeasuringNamesNodeAndItem) {
  const ProgramResult result = refused_when_read(R"(nodes:
  images: {type: read.synthetic, items: 8, fail_at: 5}
  scaled: {type: normalize, from: images}
  end:    {type: sink, from: scaled}
)");
  EXPECT_THAT(result.err, HasSubstr("error: node 'images' (synthetic image 5): "));
}

TEST_F(BadInput, EveryPixelIsNodata) {
  const std::string file = "satellite/geotiff_variants/all-nodata.tif";
  TRIB_NEEDS_DATA(file);
  const ProgramResult result =
      refused_when_read("nodes:\n  images: {type: read.raster, files: '" + data_file(file) + R"('}
  pieces: {type: crop, from: images, size: 32}
  end:    {type: sink, from: pieces}
)");
  EXPECT_THAT(result.err, HasSubstr("error: node 'pieces' ("));
  EXPECT_THAT(result.err, HasSubstr("all-nodata.tif: every value of 16 random pieces is missing"));
}

TEST_F(BadInput, BudgetTooSmallForABatch) {
  write("g.yaml", kMaeGraph);
  const ProgramResult result = trib({"validate", "g.yaml", "--set", "ingest.items=20"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err,
              HasSubstr("ingest.items is 20, but shuffle and batch need at least 33 samples"));
}

}  // namespace
}  // namespace trib::test
