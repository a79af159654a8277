// The commands of the program: what they print and how they refuse.

#include <set>

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class Cli : public TribTest {
 protected:
  std::string out_of(const Arguments& arguments) const {
    const ProgramResult result = trib(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
  }
  void expect_refused(const Arguments& arguments, int exit_code, const std::string& message) const {
    const ProgramResult result = trib(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << testing::PrintToString(arguments);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr(message));
  }
};

TEST_F(Cli, HelpOfEveryCommand) {
  const std::string help = out_of({"--help"});
  EXPECT_THAT(help, HasSubstr("Exit codes: 0 done, 2 configuration, 3 data, 4 runtime"));
  for (const char* command :
       {"run", "validate", "show", "stages", "options", "schema", "inspect", "sample-data"}) {
    EXPECT_THAT(help, ContainsRegex("\n  " + std::string(command) + " +[A-Z]"));
    EXPECT_THAT(out_of({command, "--help"}), HasSubstr("Usage: trib " + std::string(command)));
  }
}

TEST_F(Cli, Version) {
  EXPECT_THAT(out_of({"--version"}), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(Cli, WrongCommandLines) {
  expect_refused({}, 2, "subcommand is required");
  expect_refused({"rnu"}, 2, "Run with --help");
  expect_refused({"run"}, 2, "GRAPH is required");
  expect_refused({"run", "g.yaml", "--quick"}, 2, "--quick");
  expect_refused({"validate", "g.yaml", "--run-dir", "x"}, 2, "not expected");
  expect_refused({"run", "g.yaml", "--set"}, 2, "--set: 1 required KEY=VALUE missing");
  expect_refused({"run", "g.yaml", "--capture-step", "two"}, 2, "--capture-step");
  expect_refused({"show", "g.yaml", "--dot", "--json"}, 2, "excludes");
}

TEST_F(Cli, StagesAndOptions) {
  const std::string stages = out_of({"stages"});
  for (const char* stage :
       {"read.raster", "read.netcdf", "read.cube", "read.synthetic", "regrid", "crop", "normalize",
        "batch", "model.tokenize", "model.aggregate", "model.encoder", "model.mae_head",
        "model.forecast_head", "train", "write.tensors", "sink"}) {
    EXPECT_THAT("\n" + stages, ContainsRegex("\n" + std::string(stage) + " +[A-Z].*\\."));
    EXPECT_THAT(out_of({"options", stage}), HasSubstr(std::string(stage) + ": "));
    EXPECT_THAT(out_of({"options", stage, "--markdown"}), HasSubstr("## Parameters"));
  }
  EXPECT_THAT(
      out_of({"options", "batch"}),
      ContainsRegex("\nsize\n    Samples .*\n    an integer of at least 1 \\[default 16\\]"));
  expect_refused({"options", "batsch"}, 2, "error: no stage 'batsch'; did you mean 'batch'?");
  expect_refused({"options", "read.netcfd"}, 2, "did you mean 'read.netcdf'?");
}

TEST_F(Cli, Schema) {
  const auto schema = nlohmann::json::parse(out_of({"schema"}));
  EXPECT_THAT(schema.at("$schema").get<std::string>(), HasSubstr("json-schema.org/draft-07"));
  const std::string text = schema.dump();
  for (const char* name : {"read.cube", "mask_ratio", "per_image", "warmup_steps"}) {
    EXPECT_THAT(text, HasSubstr('"' + std::string(name) + '"'));
  }
}

TEST_F(Cli, ShowTellsWhereValuesCameFrom) {
  write("base.yaml", kMaeGraph);
  write("g.yaml", "extends: base.yaml\nnodes:\n  batches: {size: 4}\n");
  const Arguments show{"show", "g.yaml", "--set", "images.items=77"};
  const std::string yaml = out_of(show);
  EXPECT_THAT(yaml, HasSubstr("# Resolved from base.yaml g.yaml"));
  EXPECT_THAT(yaml, ContainsRegex("\n    items: 77 +# --set images.items=77\n"));
  EXPECT_THAT(yaml, ContainsRegex("\n    size: 4 +# g.yaml:3:19\n"));
  EXPECT_THAT(yaml, ContainsRegex("\n    shuffle: 24 +# base.yaml:5:[0-9]+\n"));
  EXPECT_THAT(yaml, ContainsRegex("\n    weight_decay: 0.05 +# default\n"));

  const auto json = nlohmann::json::parse(out_of(show + Arguments{"--json"}));
  EXPECT_EQ(json["nodes"].size(), 8U);
  EXPECT_EQ(json["nodes"][0]["parameters"]["items"]["value"], 77);
  EXPECT_EQ(json["nodes"][2]["from"], nlohmann::json({"scaled"}));

  const std::string dot = out_of(show + Arguments{"--dot"});
  EXPECT_EQ(dot.substr(0, 13), "digraph \"g\" {");
  EXPECT_THAT(dot, HasSubstr("\"images\" -> \"scaled\";"));
  EXPECT_THAT(dot, HasSubstr("\"recon\" -> \"train\";"));
}

TEST_F(Cli, ValidateTellsShapesAndMemory) {
  write("g.yaml", kMaeGraph);
  const std::string text = out_of({"validate", "g.yaml"});
  EXPECT_THAT(text, HasSubstr("g.yaml is valid: 8 nodes, 1 rank\n"));
  EXPECT_THAT(text, HasSubstr("samples of 6 channels, 16x16"));
  EXPECT_THAT(text, HasSubstr("memory of a rank:"));
  const auto json = nlohmann::json::parse(out_of({"validate", "g.yaml", "--json"}));
  EXPECT_EQ(json["valid"], true);
  EXPECT_EQ(json["nodes"][0]["delivers"], "samples");
  EXPECT_EQ(json["nodes"][0]["extent"], nlohmann::json({16, 16}));
  EXPECT_EQ(json["nodes"][2]["delivers"], "batches");
  const auto& bytes = json["memory_bytes_per_rank"];
  EXPECT_GT(bytes["activations"], 0);
  EXPECT_GE(bytes["parameters"], 4 * json["parameters"].get<std::int64_t>());
  EXPECT_EQ(bytes["gradients"], bytes["parameters"]);
  EXPECT_EQ(bytes["optimizer"], 2 * bytes["parameters"].get<std::int64_t>());
  // Reading is not asked of validate: it leaves nothing behind.
  EXPECT_FALSE(exists("runs"));
}

TEST_F(Cli, SampleDataAndInspect) {
  const std::string made = out_of({"sample-data", "data", "--seed", "3"});
  EXPECT_THAT(made, HasSubstr("TRIB_DATA=data trib run graphs/hyperspectral_mae.yaml"));
  const std::string tiff = out_of({"inspect", "data/satellite/scene_00.tif"});
  EXPECT_THAT(tiff, HasSubstr("6 channels: B02 B03 B04 B08 B11 B12"));
  EXPECT_THAT(tiff, HasSubstr("256"));
  const std::string netcdf = out_of({"inspect", "data/era5/pl_01.nc"});
  EXPECT_THAT(netcdf, HasSubstr("NetCDF"));
  EXPECT_THAT(netcdf, HasSubstr("10 channels: z_500 z_850 t_500 t_850"));
  const std::string hdf5 = out_of({"inspect", "data/hyperspectral/maize_field_000.h5"});
  EXPECT_THAT(hdf5, HasSubstr("HDF5"));
  EXPECT_THAT(hdf5, HasSubstr("200 channels: 400.0nm 403.0nm"));

  write("notes.txt", "These are no pixels.\n");
  expect_refused({"inspect", "notes.txt"}, 3, "error: notes.txt: is of no format known here");
  expect_refused({"inspect", "absent.tif"}, 3, "error: absent.tif: there is no such file");
  write("file", "");
  expect_refused({"sample-data", "file/data"}, 4, "cannot make folder");
}

TEST_F(Cli, SameSeedSameSampleData) {
  for (const char* folder : {"a", "b"}) out_of({"sample-data", folder, "--seed", "4"});
  out_of({"sample-data", "c", "--seed", "5"});
  for (const char* file : {"satellite/scene_01.tif", "era5/sfc_01.nc"}) {
    EXPECT_EQ(text("a/" + std::string(file)), text("b/" + std::string(file)));
    EXPECT_NE(text("a/" + std::string(file)), text("c/" + std::string(file)));
  }
}

}  // namespace
}  // namespace trib::test
