// A small catalog of stages and a folder of graph files for the tests of graph definitions.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "ops/base/error.h"
#include "pipeline/graph/graph_definition.h"
#include "pipeline/graph/stage_declaration.h"

namespace trib::pipeline::test {

class SmallCatalog : public StageCatalog {
 public:
  SmallCatalog() {
    using Inputs = StageDeclaration::Inputs;
    stages_ = {
        {"batch",
         "Stack samples.",
         Inputs::one,
         {param::integer("size", "Samples in a batch.").at_least(1).mandatory()},
         {}},
        {"join", "Join inputs.", Inputs::many, {}, {}},
        {"model.tokenize",
         "Cut images in patches and project each to a token.",
         Inputs::one,
         {param::integer("patch", "Side of a square patch.")
              .unit_is("pixels")
              .between(1, 64)
              .or_else(4)
              .formerly("patch_size"),
          param::integer("dim", "Width of a token.").at_least(1).or_else(128),
          param::choice("kind", {"linear", "cross_attention"}, "How to project.").or_else("linear"),
          param::number("dropout", "Share of values set to zero.")
              .at_least(0)
              .below(1)
              .or_else(0.0),
          param::boolean("fused", "Use the exact shortcut.").or_else(true)},
         {"tokenize"}},
        {"read.cube",
         "Read hyperspectral cubes.",
         Inputs::none,
         {param::strings("files", "Files to read, with wildcards.").mandatory(),
          param::string("dataset", "Name of the data set.").or_else("reflectance"),
          param::size("window", "Part of each image to read.").unit_is("pixels"),
          param::duration("every", "Time between two samples.").or_else("6h"),
          param::bytes("cache", "Memory for chunks.").or_else("512MB"),
          param::numbers("scale", "Factor of each channel.").above(0).or_else("[1, 0.5]")},
         {}},
    };
  }
  const StageDeclaration* find(std::string_view type) const override {
    for (const StageDeclaration& stage : stages_) {
      const auto& former = stage.former_types;
      if (stage.type == type || std::find(former.begin(), former.end(), type) != former.end()) {
        return &stage;
      }
    }
    return nullptr;
  }
  std::vector<const StageDeclaration*> all() const override {
    std::vector<const StageDeclaration*> pointers;
    for (const StageDeclaration& stage : stages_) pointers.push_back(&stage);
    return pointers;
  }

 private:
  std::vector<StageDeclaration> stages_;
};

/// Tests run in a folder of their own, so that messages name files without their folder.
class GraphTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("trib_graph_" + std::to_string(getpid()) + "_" + info->name());
    std::filesystem::create_directories(folder_);
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(folder_);
  }
  void TearDown() override {
    std::filesystem::current_path(before_);
    std::filesystem::remove_all(folder_);
  }

  static void write(const std::string& file, std::string_view text) {
    const auto parent = std::filesystem::path(file).parent_path();
    if (!parent.empty()) std::filesystem::create_directories(parent);
    std::ofstream(file, std::ios::binary) << text;
  }
  GraphDefinition load(const std::vector<std::string>& sets = {},
                       const std::string& file = "g.yaml") const {
    return load_graph(file, sets, catalog_);
  }
  GraphDefinition load_text(std::string_view text,
                            const std::vector<std::string>& sets = {}) const {
    write("g.yaml", text);
    return load(sets);
  }
  /// The message of the ConfigError that reading g.yaml throws; empty if it throws none.
  std::string error_of_file(const std::vector<std::string>& sets = {}) const {
    try {
      load(sets);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }
  std::string error_of(std::string_view text, const std::vector<std::string>& sets = {}) const {
    write("g.yaml", text);
    return error_of_file(sets);
  }

  SmallCatalog catalog_;

 private:
  std::filesystem::path folder_, before_;
};

/// A good graph: lines 1 to 10.
inline constexpr std::string_view kGoodGraph = R"(name: small
seed: 7
mesh: {data: 2, tensor: 3}
vars: {dim: 64}
ingest: {items: 32, bytes: 256MB}
nodes:
  tokens:  {type: model.tokenize, from: batches, patch: 8, dim: "${dim}"}
  cubes:   {type: read.cube, files: "a/*.h5", window: [32, 48], every: 90m}
  batches: {type: batch, from: cubes, size: 16}
)";

}  // namespace trib::pipeline::test
