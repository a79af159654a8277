#include "pipeline/graph/graph_definition.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/pipeline/graph_fixture.h"

namespace trib::pipeline::test {
namespace {

class GraphDefinitionTest : public GraphTest {};

TEST_F(GraphDefinitionTest, ReadsWhenToWriteCheckpoints) {
  const std::string nodes = "nodes: {cubes: {type: read.cube, files: a, dataset: d}}\n";
  GraphDefinition graph = load_text(nodes);
  EXPECT_EQ(graph.checkpoints.integer("every"), 0);
  EXPECT_EQ(graph.checkpoints.number("minutes"), 30);
  EXPECT_EQ(graph.checkpoints.integer("keep"), 3);
  graph = load_text("checkpoints: {every: 50, minutes: 0.5, keep: 0}\n" + nodes);
  EXPECT_EQ(graph.checkpoints.integer("every"), 50);
  EXPECT_EQ(graph.checkpoints.number("minutes"), 0.5);
  EXPECT_EQ(graph.checkpoints.integer("keep"), 0);
  EXPECT_EQ(error_of("checkpoints: {every: -1, keeep: 2}\n" + nodes),
            "g.yaml:1:22: key 'checkpoints.every' is '-1'; expected an integer of at least 0\n"
            "g.yaml:1:26: key 'checkpoints.keeep' is unknown; did you mean 'keep'?");
}

TEST_F(GraphDefinitionTest, ReadsWhichWeightsToStartFrom) {
  const std::string nodes = "nodes: {cubes: {type: read.cube, files: a, dataset: d}}\n";
  GraphDefinition graph = load_text(nodes);
  EXPECT_FALSE(graph.weights.has("from"));
  EXPECT_EQ(graph.weights.string("match"), "strict");
  graph = load_text("weights: {from: runs/a, match: partial}\n" + nodes);
  EXPECT_EQ(graph.weights.string("from"), "runs/a");
  EXPECT_EQ(graph.weights.mark("from").text(), "g.yaml:1:17");
  EXPECT_EQ(graph.weights.string("match"), "partial");
  graph = load_text(nodes, {"weights.from=runs/b"});
  EXPECT_EQ(graph.weights.string("from"), "runs/b");
  EXPECT_EQ(error_of("weights: {match: stric, form: a}\n" + nodes),
            "g.yaml:1:18: key 'weights.match' is 'stric'; expected one of strict, partial; did you "
            "mean 'strict'?\n"
            "g.yaml:1:25: key 'weights.form' is unknown; did you mean 'from'?");
}

TEST_F(GraphDefinitionTest, ReadsAGoodGraph) {
  const GraphDefinition graph = load_text(kGoodGraph);
  EXPECT_EQ(graph.name(), "small");
  EXPECT_EQ(graph.seed(), 7U);
  EXPECT_EQ(graph.runs(), "runs");
  EXPECT_EQ(graph.ranks(), 6);
  EXPECT_EQ(graph.mesh.integer("shard"), 1);
  EXPECT_EQ(graph.ingest.integer("items"), 32);
  EXPECT_EQ(graph.ingest.integer("threads"), 2);
  EXPECT_EQ(graph.ingest.bytes("bytes"), 256'000'000);
  ASSERT_EQ(graph.nodes.size(), 3U);
  EXPECT_EQ(graph.nodes[0].name, "cubes");
  EXPECT_EQ(graph.nodes[1].name, "batches");
  EXPECT_EQ(graph.nodes[2].name, "tokens");
  EXPECT_TRUE(graph.nodes[0].from.empty());
  EXPECT_EQ(graph.nodes[1].from, std::vector<std::size_t>{0});
  EXPECT_EQ(graph.nodes[2].from, std::vector<std::size_t>{1});
  const ParameterValues& cube = graph.find("cubes")->parameters;
  EXPECT_EQ(cube.strings("files"), std::vector<std::string>{"a/*.h5"});
  EXPECT_EQ(cube.size("window"), (SizeValue{32, 48}));
  EXPECT_EQ(cube.duration_hours("every"), 1.5);
  EXPECT_EQ(cube.bytes("cache"), 512'000'000);
  EXPECT_EQ(cube.numbers("scale"), (std::vector<double>{1, 0.5}));
  const NodeDefinition& tokens = *graph.find("tokens");
  EXPECT_EQ(tokens.type(), "model.tokenize");
  EXPECT_EQ(tokens.parameters.integer("patch"), 8);
  EXPECT_EQ(tokens.parameters.integer("dim"), 64);
  EXPECT_TRUE(tokens.parameters.boolean("fused"));
  EXPECT_EQ(tokens.mark.text(), "g.yaml:7:3");
  EXPECT_EQ(graph.find("nothing"), nullptr);
  EXPECT_TRUE(graph.warnings.empty());
}

TEST_F(GraphDefinitionTest, NameIsTheFilesUnlessGiven) {
  write("folder/mine.yaml", "nodes: {c: {type: read.cube, files: x}}");
  EXPECT_EQ(load({}, "folder/mine.yaml").name(), "mine");
}

TEST_F(GraphDefinitionTest, ReportsAllProblemsAtOnceInOrder) {
  EXPECT_EQ(error_of(R"(name: a/b
sed: 3
mesh: {tensr: 2, data: 0}
nodes:
  cubes:   {type: read.cub, files: x}
  batches: {type: batch, from: cube}
  tokens:
    type: model.tokenize
    from: batches
    patchs: 4
    dim: many
    kind: cross_atention
    dropout: 1
    fused: 1
  lost:    {from: tokens}
)"),
            "g.yaml:1:7: key 'name' is 'a/b'; expected a name that can be a folder's\n"
            "g.yaml:2:1: key 'sed' is unknown; did you mean 'seed'?\n"
            "g.yaml:3:8: key 'mesh.tensr' is unknown; did you mean 'tensor'?\n"
            "g.yaml:3:24: key 'mesh.data' is '0'; expected an integer from 1 to 1000000\n"
            "g.yaml:5:19: node 'cubes': stage type 'read.cub' is unknown; did you mean "
            "'read.cube'?\n"
            "g.yaml:6:3: node 'batches': parameter 'size' is missing; expected an integer of at "
            "least 1\n"
            "g.yaml:6:32: node 'batches': 'from' names node 'cube', which does not exist; did you "
            "mean 'cubes'?\n"
            "g.yaml:10:5: node 'tokens': parameter 'patchs' is unknown; did you mean 'patch'?\n"
            "g.yaml:11:10: node 'tokens': parameter 'dim' is 'many'; expected an integer of at "
            "least 1\n"
            "g.yaml:12:11: node 'tokens': parameter 'kind' is 'cross_atention'; expected one of "
            "linear, cross_attention; did you mean 'cross_attention'?\n"
            "g.yaml:13:14: node 'tokens': parameter 'dropout' is '1'; expected a number of at "
            "least 0 and below 1\n"
            "g.yaml:14:12: node 'tokens': parameter 'fused' is '1'; expected true or false\n"
            "g.yaml:15:3: node 'lost': 'type' is missing; expected the type of a stage");
}

TEST_F(GraphDefinitionTest, ReportsTheNumberOfInputs) {
  EXPECT_EQ(error_of(R"(nodes:
  a: {type: read.cube, files: x, from: b}
  b: {type: read.cube, files: x}
  c: {type: batch, size: 1}
  d: {type: batch, size: 1, from: [a, b]}
  e: {type: join}
  f: {type: join, from: [a, b, a]}
  g: {type: join, from: {a: b}}
)"),
            "g.yaml:2:40: node 'a': stage read.cube takes no input; remove 'from'\n"
            "g.yaml:4:3: node 'c': 'from' is missing; stage batch takes one input\n"
            "g.yaml:5:35: node 'd': 'from' names 2 nodes; stage batch takes one input\n"
            "g.yaml:6:3: node 'e': 'from' is missing; stage join takes one or more inputs\n"
            "g.yaml:7:32: node 'f': 'from' names node 'a' twice\n"
            "g.yaml:8:25: node 'g': 'from' is a mapping; expected a node or a list of nodes");
}

TEST_F(GraphDefinitionTest, NamesTheNodesOfACycle) {
  EXPECT_EQ(error_of(R"(nodes:
  behind: {type: join, from: c}
  a: {type: join, from: [c, source]}
  b: {type: join, from: a}
  c: {type: join, from: b}
  self: {type: join, from: self}
  x: {type: join, from: y}
  y: {type: join, from: x}
  source: {type: read.cube, files: x}
)"),
            "g.yaml:3:25: node 'a': is part of a cycle: a -> b -> c -> a\n"
            "g.yaml:6:28: node 'self': takes its own output as input\n"
            "g.yaml:7:25: node 'x': is part of a cycle: x -> y -> x");
}

TEST_F(GraphDefinitionTest, RefusesWhatIsNoGraph) {
  EXPECT_EQ(error_of(""), "g.yaml:1:1: the file is empty; expected a graph definition");
  EXPECT_EQ(error_of("# only a comment\n"),
            "g.yaml:1:1: the file is empty; expected a graph definition");
  EXPECT_EQ(error_of("[1, 2]"), "g.yaml:1:1: expected a mapping, this is a list");
  EXPECT_EQ(error_of("name: x"),
            "g.yaml:1:1: there are no nodes; expected 'nodes' with at least one");
  EXPECT_EQ(error_of("nodes: {}"), "g.yaml:1:8: 'nodes' is empty; expected at least one");
  EXPECT_EQ(error_of("nodes: 3"), "g.yaml:1:8: 'nodes' is '3'; expected a mapping");
  EXPECT_EQ(error_of("nodes:\n  a: 3\n  b:\n"),
            "g.yaml:2:3: node 'a': is '3'; expected {type: ..., from: ..., parameters}\n"
            "g.yaml:3:3: node 'b': is null; expected {type: ..., from: ..., parameters}");
  EXPECT_EQ(error_of("nodes: {mesh: {type: join}}\nvars: 3\nmesh: 3"),
            "g.yaml:1:9: node 'mesh': a node cannot have the name of a section\n"
            "g.yaml:1:9: node 'mesh': 'from' is missing; stage join takes one or more inputs\n"
            "g.yaml:2:7: 'vars' is '3'; expected a mapping\n"
            "g.yaml:3:7: expected a mapping of parameters, this is '3'");
  EXPECT_EQ(error_of("nodes: {a.b: {type: read.cube, files: x}}"),
            "g.yaml:1:9: node 'a.b': expected a name of letters a-z and A-Z, digits, underscores "
            "and hyphens");
  std::filesystem::remove("g.yaml");
  EXPECT_EQ(error_of_file(), "g.yaml: cannot read 'g.yaml': No such file or directory");
  std::filesystem::create_directory("g.yaml");
  EXPECT_EQ(error_of_file(), "g.yaml: cannot read 'g.yaml': Is a directory");
}

TEST_F(GraphDefinitionTest, UnderstandsFormerNamesWithAWarning) {
  const GraphDefinition graph = load_text(R"(nodes:
  c: {type: read.cube, files: x}
  t: {type: tokenize, from: c, patch_size: 16}
)");
  EXPECT_EQ(graph.find("t")->type(), "model.tokenize");
  EXPECT_EQ(graph.find("t")->parameters.integer("patch"), 16);
  ASSERT_EQ(graph.warnings.size(), 2U);
  EXPECT_EQ(graph.warnings[0].text(),
            "g.yaml:3:13: node 't': stage type 'tokenize' is now called 'model.tokenize'");
  EXPECT_EQ(graph.warnings[1].text(),
            "g.yaml:3:32: node 't': parameter 'patch_size' is now called 'patch'");
  EXPECT_EQ(error_of(R"(nodes:
  c: {type: read.cube, files: x}
  t: {type: model.tokenize, from: c, patch_size: 16, patch: 8}
)"),
            "g.yaml:3:54: node 't': parameter 'patch' and 'patch_size' at g.yaml:3:38 are the same "
            "parameter");
}

}  // namespace
}  // namespace trib::pipeline::test
