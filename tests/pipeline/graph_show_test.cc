#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "pipeline/graph/show.h"
#include "pipeline/graph/stage_help.h"
#include "tests/pipeline/graph_fixture.h"

namespace trib::pipeline::test {
namespace {

class GraphShowTest : public GraphTest {};

TEST_F(GraphShowTest, SaysWhereEveryValueCameFrom) {
  const std::string text = resolved_yaml(load_text(kGoodGraph, {"cubes.every=3h"}));
  const auto has_line = [&](const std::string& start, const std::string& origin) {
    const auto begin = text.find("\n" + start);
    if (begin == std::string::npos) return false;
    const std::string line = text.substr(begin + 1, text.find('\n', begin + 1) - begin - 1);
    return line.ends_with("  # " + origin);
  };
  EXPECT_TRUE(has_line("seed: 7 ", "g.yaml:2:7")) << text;
  EXPECT_TRUE(has_line("runs: runs ", "default")) << text;
  EXPECT_TRUE(has_line("  tensor: 3 ", "g.yaml:3:25")) << text;
  EXPECT_TRUE(has_line("    type: read.cube ", "g.yaml:8:19")) << text;
  EXPECT_TRUE(has_line("    files: [\"a/*.h5\"] ", "g.yaml:8:37")) << text;
  EXPECT_TRUE(has_line("    every: 3h ", "--set cubes.every=3h")) << text;
  EXPECT_TRUE(has_line("    window: [32,48] ", "g.yaml:8:55")) << text;
  EXPECT_TRUE(has_line("    dim: 64 ", "g.yaml:7:65 through vars.dim (g.yaml:4:13)")) << text;
}

TEST_F(GraphShowTest, ReadsBackAsTheSameGraph) {
  const GraphDefinition graph = load_text(R"(name: "true"
nodes:
  "2": {type: join, from: [c, d]}
  c: {type: read.cube, files: ["$${x}", "", "a: b # c", "ü\"\\\n", "null", "1.5"], dataset: "~"}
  d: {type: read.cube, files: x, scale: [0.1, 3e-7], every: 1h30m, cache: 1.5GiB}
)");
  write("again.yaml", resolved_yaml(graph));
  const GraphDefinition again = load({}, "again.yaml");
  EXPECT_EQ(again.name(), "true");
  ASSERT_EQ(again.nodes.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(again.nodes[i].name, graph.nodes[i].name);
    EXPECT_EQ(again.nodes[i].from, graph.nodes[i].from);
    const auto& before = graph.nodes[i].parameters.all();
    const auto& after = again.nodes[i].parameters.all();
    ASSERT_EQ(before.size(), after.size());
    for (std::size_t j = 0; j < before.size(); ++j) EXPECT_EQ(before[j].data, after[j].data);
  }
}

TEST_F(GraphShowTest, WritesJson) {
  const auto json = nlohmann::json::parse(resolved_json(load_text(kGoodGraph)));
  EXPECT_EQ(json["name"], "small");
  EXPECT_EQ(json["mesh"]["tensor"]["value"], 3);
  EXPECT_EQ(json["mesh"]["shard"]["from"], "default");
  const auto& cubes = json["nodes"][0];
  EXPECT_EQ(cubes["name"], "cubes");
  EXPECT_EQ(cubes["parameters"]["window"]["value"], nlohmann::json({32, 48}));
  EXPECT_EQ(cubes["parameters"]["every"]["value"], "90m");
  EXPECT_EQ(json["nodes"][2]["from"], nlohmann::json({"batches"}));
}

TEST_F(GraphShowTest, DrawsTheGraph) {
  EXPECT_EQ(graphviz(load_text(kGoodGraph)), R"(digraph "small" {
  rankdir=LR;
  node [shape=box, style=rounded, fontname="sans-serif"];
  "cubes" [label="cubes\nread.cube"];
  "batches" [label="batches\nbatch"];
  "tokens" [label="tokens\nmodel.tokenize"];
  "cubes" -> "batches";
  "batches" -> "tokens";
}
)");
}

TEST_F(GraphShowTest, ListsStages) {
  EXPECT_EQ(stage_table(catalog_),
            "batch           Stack samples.\n"
            "join            Join inputs.\n"
            "model.tokenize  Cut images in patches and project each to a token.\n"
            "read.cube       Read hyperspectral cubes.\n");
  EXPECT_EQ(stage_options(*catalog_.find("batch")), R"(batch: Stack samples.
Takes one input.

size
    Samples in a batch.
    an integer of at least 1 [required]
)");
  EXPECT_EQ(stage_options(*catalog_.find("join")),
            "join: Join inputs.\nTakes one or more inputs.\nNo parameters.\n");
  const std::string options = stage_options(*catalog_.find("model.tokenize"));
  EXPECT_NE(options.find("\npatch\n    Side of a square patch.\n    an integer from 1 to 64, in "
                         "pixels [default 4]\n    Formerly patch_size.\n"),
            std::string::npos)
      << options;
  const std::string page = stage_markdown(*catalog_.find("model.tokenize"));
  EXPECT_TRUE(
      page.starts_with("**Cut images in patches and project each to a token.**\n\nTakes one "
                       "input.\nFormerly `tokenize`.\n\n## Parameters\n"))
      << page;
  EXPECT_NE(page.find("\n- `kind`: How to project. *one of linear, cross_attention* [default "
                      "`linear`]\n"),
            std::string::npos)
      << page;
}

}  // namespace
}  // namespace trib::pipeline::test
