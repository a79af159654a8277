// extends, variables, the environment and --set: who wins, and what is said when they go wrong.
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "pipeline/graph/graph_definition.h"
#include "tests/pipeline/graph_fixture.h"

namespace trib::pipeline::test {
namespace {

class ComposeTest : public GraphTest {
 protected:
  void SetUp() override {
    GraphTest::SetUp();
    unsetenv("TRIB_TEST_VALUE");
  }
  void TearDown() override {
    unsetenv("TRIB_TEST_VALUE");
    GraphTest::TearDown();
  }
  std::string origin(const GraphDefinition& graph, const std::string& node,
                     const std::string& parameter) {
    return graph.find(node)->parameters.origin(parameter).text();
  }
};

TEST_F(ComposeTest, LaterFilesWinAndSetWinsOverAll) {
  write("base/first.yaml", R"(seed: 1
mesh: {data: 2}
nodes:
  cubes:  {type: read.cube, files: x, every: 1h, dataset: first}
  tokens: {type: model.tokenize, from: cubes, patch: 2, dim: 2}
  gone:   {type: join, from: tokens}
)");
  write("base/second.yaml", "nodes: {tokens: {patch: 3, dim: 3}}\n");
  write("g.yaml", R"(extends: [base/first.yaml, base/second.yaml]
nodes:
  gone: null
  cubes: {every: null, dataset: last}
  tokens: {dim: 4}
)");
  GraphDefinition graph = load();
  EXPECT_EQ(graph.files,
            (std::vector<std::string>{"base/first.yaml", "base/second.yaml", "g.yaml"}));
  EXPECT_EQ(graph.nodes.size(), 2U);
  EXPECT_EQ(graph.seed(), 1U);
  const ParameterValues& tokens = graph.find("tokens")->parameters;
  EXPECT_EQ(tokens.integer("patch"), 3);
  EXPECT_EQ(tokens.integer("dim"), 4);
  EXPECT_EQ(origin(graph, "tokens", "patch"), "base/second.yaml:1:25");
  EXPECT_EQ(origin(graph, "tokens", "dim"), "g.yaml:5:17");
  EXPECT_EQ(origin(graph, "cubes", "every"), "default");
  EXPECT_EQ(graph.find("cubes")->parameters.string("dataset"), "last");

  graph = load({"tokens.dim=8", "nodes.tokens.dim=9", "seed=3", "mesh.tensor=4", "ingest.items=7",
                "cubes.window=[16, 8]", "cubes.files=*.tif", "tokens.patch=null", "runs=/tmp/r"});
  EXPECT_EQ(graph.find("tokens")->parameters.integer("dim"), 9);
  EXPECT_EQ(graph.find("tokens")->parameters.integer("patch"), 4);
  EXPECT_EQ(origin(graph, "tokens", "dim"), "--set nodes.tokens.dim=9");
  EXPECT_EQ(graph.seed(), 3U);
  EXPECT_EQ(graph.ranks(), 8);
  EXPECT_EQ(graph.ingest.integer("items"), 7);
  EXPECT_EQ(graph.find("cubes")->parameters.size("window"), (SizeValue{16, 8}));
  EXPECT_EQ(graph.find("cubes")->parameters.strings("files"), std::vector<std::string>{"*.tif"});
  EXPECT_EQ(graph.runs(), "/tmp/r");
}

TEST_F(ComposeTest, ExtendsIsRelativeToItsFileAndMayBeShared) {
  write("a/one.yaml", "extends: ../common.yaml\nnodes: {c: {dataset: one}}\n");
  write("b/two.yaml", "extends: ../common.yaml\nmesh: {shard: 5}\n");
  write("common.yaml", "nodes: {c: {type: read.cube, files: x}}\n");
  write("g.yaml", "extends: [a/one.yaml, b/two.yaml]\n");
  const GraphDefinition graph = load();
  EXPECT_EQ(graph.find("c")->parameters.string("dataset"), "one");
  EXPECT_EQ(graph.ranks(), 5);
}

TEST_F(ComposeTest, ReportsFilesThatCannotBeExtended) {
  write("a.yaml", "extends: sub/b.yaml\n");
  write("sub/b.yaml", "extends: ../a.yaml\n");
  EXPECT_EQ(error_of("extends: [a.yaml, missing.yaml, {x: 1}, bad.yaml]\nnodes: {}\n"),
            "g.yaml:1:19: cannot read 'missing.yaml': No such file or directory\n"
            "g.yaml:1:33: 'extends' is a mapping; expected a file or a list of files\n"
            "g.yaml:1:41: cannot read 'bad.yaml': No such file or directory\n"
            "sub/b.yaml:1:10: extends itself: a.yaml -> sub/b.yaml -> a.yaml");
  EXPECT_EQ(error_of("extends: g.yaml\n"), "g.yaml:1:10: extends itself: g.yaml -> g.yaml");
}

TEST_F(ComposeTest, PutsInVariables) {
  const std::string text = R"(vars:
  root: "${env:TRIB_TEST_VALUE,data}"
  cubes: "${root}/cubes"
  window: [8, 16]
  dim: 32
nodes:
  c: {type: read.cube, files: ["${cubes}/*.h5", b], window: "${window}", dataset: "$${dim}"}
  t: {type: model.tokenize, from: c, dim: "${dim}", patch: "${env:TRIB_TEST_PATCH,${patch}}"}
)";
  unsetenv("TRIB_TEST_PATCH");
  EXPECT_EQ(error_of(text), "g.yaml:8:60: node 't': variable 'patch' is not defined under vars");
  setenv("TRIB_TEST_PATCH", "16", 1);
  GraphDefinition graph = load();
  const ParameterValues& cube = graph.find("c")->parameters;
  EXPECT_EQ(cube.strings("files"), (std::vector<std::string>{"data/cubes/*.h5", "b"}));
  EXPECT_EQ(cube.size("window"), (SizeValue{8, 16}));
  EXPECT_EQ(cube.string("dataset"), "${dim}");
  EXPECT_EQ(origin(graph, "c", "files"),
            "g.yaml:7:31 through vars.cubes (g.yaml:3:10), vars.root (g.yaml:2:9), default of "
            "environment TRIB_TEST_VALUE");
  EXPECT_EQ(origin(graph, "t", "dim"), "g.yaml:8:43 through vars.dim (g.yaml:5:8)");
  EXPECT_EQ(origin(graph, "t", "patch"), "g.yaml:8:60 through environment TRIB_TEST_PATCH");
  unsetenv("TRIB_TEST_PATCH");

  setenv("TRIB_TEST_VALUE", "/scratch", 1);
  setenv("TRIB_TEST_PATCH", "1", 1);
  graph = load({"vars.dim=64"});
  EXPECT_EQ(graph.find("c")->parameters.strings("files").front(), "/scratch/cubes/*.h5");
  EXPECT_EQ(graph.find("t")->parameters.integer("dim"), 64);
  EXPECT_EQ(origin(graph, "t", "dim"), "g.yaml:8:43 through vars.dim (--set vars.dim=64)");
  graph = load({"vars.root=/own", "t.dim=5"});
  EXPECT_EQ(graph.find("c")->parameters.strings("files").front(), "/own/cubes/*.h5");
  EXPECT_EQ(graph.find("t")->parameters.integer("dim"), 5);
  unsetenv("TRIB_TEST_PATCH");
}

TEST_F(ComposeTest, ReportsVariablesThatCannotBePutIn) {
  EXPECT_EQ(error_of(R"(vars:
  a: "${b}"
  b: "x${a}"
  list: [1, 2]
  map: {x: 1}
  dim: many
nodes:
  c: {type: read.cube, files: "${lsit}", dataset: "x${list}", every: "${env:TRIB_TEST_VALUE}"}
  t: {type: model.tokenize, from: c, patch: "${dim", dim: "${dim}"}
)"),
            "g.yaml:2:6: variable 'a' refers to itself: a -> b -> a\n"
            "g.yaml:5:8: variable 'map' is a mapping; expected a scalar or a list\n"
            "g.yaml:8:31: node 'c': variable 'lsit' is not defined under vars; did you mean "
            "'list'?\n"
            "g.yaml:8:51: node 'c': '${list}' is a list and cannot stand inside text\n"
            "g.yaml:8:70: node 'c': environment variable 'TRIB_TEST_VALUE' is not set; give a "
            "default: ${env:TRIB_TEST_VALUE,default}\n"
            "g.yaml:9:45: node 't': '${dim' opens ${ without closing it\n"
            "g.yaml:9:59: node 't': parameter 'dim' is 'many' (through vars.dim (g.yaml:6:8)); "
            "expected an integer of at least 1");
}

TEST_F(ComposeTest, ReportsSetsThatNameNothing) {
  EXPECT_EQ(
      error_of(kGoodGraph, {"tokns.dim=1", "tokens.dmi=1", "tokens.dim=x", "vars.dmi=1", "sed=1",
                            "tokens=1", "mesh.tenser=2", "nonsense", "cubes.window=[1,"}),
      "--set cubes.window=[1,: not YAML: end of sequence flow not found\n"
      "--set mesh.tenser=2: key 'mesh.tenser' is unknown; did you mean 'tensor'?\n"
      "--set nonsense: expected NODE.PARAMETER=VALUE\n"
      "--set sed=1: 'sed' is unknown; did you mean 'seed'?\n"
      "--set tokens.dim=x: node 'tokens': parameter 'dim' is 'x'; expected an integer of at "
      "least 1\n"
      "--set tokens.dmi=1: node 'tokens': parameter 'dmi' is unknown; did you mean 'dim'?\n"
      "--set tokens=1: 'tokens' holds several values; expected tokens.PARAMETER=VALUE\n"
      "--set tokns.dim=1: node 'tokns' is unknown; did you mean 'tokens'?\n"
      "--set vars.dmi=1: variable 'dmi' is not defined under vars; did you mean 'dim'?");
}

}  // namespace
}  // namespace trib::pipeline::test
