#include "pipeline/cli/stats_commands.h"

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/prepare/stats.h"

namespace trib::pipeline {
namespace {

struct Arguments {
  StatsOptions options;
  std::vector<std::string> nodes;  // or parts to merge, behind the first
  std::string part = "1/1", merged;
};

void run(Arguments& arguments, const Registry& registry, int& exit_code) {
  if (!arguments.merged.empty()) {
    std::vector<std::string> parts{arguments.options.graph};
    parts.insert(parts.end(), arguments.nodes.begin(), arguments.nodes.end());
    fmt::print("{}", merge_statistics(arguments.merged, parts));
    return;
  }
  if (arguments.nodes.size() > 1) {
    throw ConfigError(
        fmt::format("one NODE is measured at a time, and {} are named", arguments.nodes.size()));
  }
  if (!arguments.nodes.empty()) arguments.options.node = arguments.nodes.front();
  arguments.options.part = PartOfWork::parse(arguments.part);
  exit_code = write_graph_statistics(arguments.options, registry);
}

}  // namespace

void add_stats_command(CLI::App& app, const Registry& registry, int& exit_code) {
  auto arguments = std::make_shared<Arguments>();
  StatsOptions& options = arguments->options;
  auto* command = app.add_subcommand(
      "stats", "Measure each channel of what flows into a node, over the whole training split");
  command->add_option("GRAPH", options.graph, "Graph definition (YAML); with --merge a PART")
      ->required();
  command->add_option("NODE", arguments->nodes,
                      "Node whose input is measured; left out: the normalize node");
  command->add_option("--set", options.sets, "Replace a value of the graph: node.param=value")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--out", options.out,
                      "File to write; left out: the one the node's `stats` names");
  command
      ->add_option("--part", arguments->part,
                   "Do a part of the work, as one of N jobs; parts are put together by --merge")
      ->type_name("I/N");
  command
      ->add_option("--samples", options.samples,
                   "Measure so many, drawn as a training draws them; left out: all")
      ->check(CLI::PositiveNumber);
  command->add_option("--merge", arguments->merged, "Put parts together into this file")
      ->type_name("OUT");
  command->add_flag("-q,--quiet", options.quiet, "Print nothing but errors");
  command->callback([arguments, &registry, &exit_code] { run(*arguments, registry, exit_code); });
}

}  // namespace trib::pipeline
