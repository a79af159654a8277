// The program `trib`.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "io/image_source.h"
#include "io/inspect.h"
#include "io/sample_data/sample_data.h"
#include "ops/base/error.h"
#include "pipeline/cli/checkpoint_commands.h"
#include "pipeline/cli/inspect_text.h"
#include "pipeline/cli/prepare_commands.h"
#include "pipeline/cli/stats_commands.h"
#include "pipeline/engine/abandoned.h"
#include "pipeline/graph/graph_definition.h"
#include "pipeline/graph/schema.h"
#include "pipeline/graph/show.h"
#include "pipeline/graph/stage_help.h"
#include "pipeline/graph/suggest.h"
#include "pipeline/observe/environment.h"
#include "pipeline/run/run.h"
#include "pipeline/run/validate.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

/// `trib options STAGE`; ConfigError with a suggestion for a stage that is not there.
const StageDeclaration& find_stage(const Registry& registry, const std::string& type) {
  if (const StageDeclaration* found = registry.find(type)) return *found;
  std::vector<std::string> types;
  for (const StageDeclaration* declaration : registry.all()) types.push_back(declaration->type);
  throw ConfigError(fmt::format("no stage '{}'{}", type, did_you_mean(type, types)));
}

struct CheckpointArguments {
  std::string path, file, folder, states = "value";
  std::vector<std::string> maps;
  bool json = false, tensors = false;
};

/// `trib checkpoint ...`; what is written into must outlive the parsing.
void add_checkpoint_commands(CLI::App& app, CheckpointArguments& arguments, int& exit_code) {
  auto* command = app.add_subcommand("checkpoint", "Look into checkpoints and exchange weights");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* sentence) {
    auto* made = command->add_subcommand(name, sentence);
    made->add_option("PATH", arguments.path, "Checkpoint (step-N or latest), or folder of a run")
        ->required();
    return made;
  };

  auto* inspect = add("inspect", "Show what a checkpoint, or a safetensors file, holds");
  auto* json = inspect->add_flag("--json", arguments.json, "Print JSON");
  inspect->add_flag("--tensors", arguments.tensors, "List the tensors too")->excludes(json);
  inspect->callback([&] {
    fmt::print("{}", arguments.json ? inspect_checkpoint_json(arguments.path)
                                    : inspect_checkpoint(arguments.path, arguments.tensors));
  });

  add("verify", "Compare the checksums of a checkpoint, or of all of a run")->callback([&] {
    const VerifyReport report = verify_checkpoints(arguments.path);
    fmt::print("{}", report.text);
    if (!report.is_intact) exit_code = static_cast<int>(ExitCode::data);
  });

  auto* exported = add("export", "Write a checkpoint into one safetensors file, for PyTorch");
  exported->add_option("OUT", arguments.file, "File to write, which must be new")->required();
  exported->add_option("--states", arguments.states, "The weights, or AdamW's moments too")
      ->check(CLI::IsMember({"value", "all"}))
      ->capture_default_str();
  exported->callback([&] {
    fmt::print("{}", export_checkpoint(arguments.path, arguments.file, arguments.states == "all"));
  });

  auto* imported = command->add_subcommand("import", "Make a checkpoint out of a safetensors file");
  imported->add_option("FILE", arguments.file, "File to read")->required();
  imported->add_option("OUT", arguments.folder, "Folder to make, which must be new")->required();
  imported->add_option("--map", arguments.maps, "Let names that begin with OLD begin with NEW")
      ->type_name("OLD=NEW")
      ->allow_extra_args(false);
  imported->callback([&] {
    fmt::print("{}", import_checkpoint(arguments.file, arguments.folder, arguments.maps));
  });
}

int main_of(int argc, char** argv) {
  Registry registry;
  register_builtin_stages(registry);
  int exit_code = 0;

  CLI::App app("Take multichannel scientific imagery from files to trained foundation models.",
               "trib");
  app.set_version_flag("--version", program_version());
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 2 configuration, 3 data, 4 runtime, 5 another rank failed, 130, "
      "138 and 143 interrupted.");

  const auto add_graph = [](CLI::App* command, std::string& graph, std::vector<std::string>& sets) {
    command->add_option("GRAPH", graph, "Graph definition (YAML)")->required();
    command
        ->add_option("--set", sets,
                     "Replace a value: node.param=value, vars.name=value, mesh.data=2, seed=3")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
  };

  RunOptions run;
  auto* run_command = app.add_subcommand("run", "Run a graph; under mpirun or srun on all ranks");
  add_graph(run_command, run.graph, run.sets);
  run_command->add_option("--run-dir", run.run_dir,
                          "Folder of this run, which must be new or empty unless it is resumed; "
                          "left out: a fresh one below the graph's `runs`");
  std::string bind = "none";
  const auto add_bind = [&](CLI::App* command, const char* sentence) {
    command->add_option("--bind", bind, sentence)
        ->check(CLI::IsMember({"core", "numa", "none"}))
        ->capture_default_str();
  };
  add_bind(run_command,
           "Keep ranks on cores of their own, and each computing thread on one of them (core) or "
           "on one NUMA node of them (numa); none leaves that to the launcher");
  run_command->add_flag("--resume", run.resume,
                        "Go on from the newest whole checkpoint of --run-dir, or of the latest run "
                        "of this name; start if there is none");
  run_command->add_flag("--log-samples", run.log_samples,
                        "Record the samples of each update in samples/");
  run_command->add_flag("-q,--quiet", run.quiet, "Show no progress");
  bool no_trace = false;
  run_command->add_flag("--no-trace", no_trace, "Record no trace.json");
  run_command
      ->add_option("--capture", run.capture.nodes,
                   "Write the tensors that leave these nodes, and the parameters, in one step")
      ->delimiter(',')
      ->type_name("NODE,...");
  run_command->add_option("--capture-step", run.capture.step, "Step to capture, from 1")
      ->capture_default_str();
  run_command->add_flag("--capture-gradients", run.capture.gradients,
                        "Capture the parameters' gradients too");
  run_command->callback([&] {
    run.trace = !no_trace;
    run.bind = bind_of(bind);
    exit_code = run_graph(run, registry);
  });

  ValidateOptions validate;
  auto* validate_command = app.add_subcommand(
      "validate", "Check a graph against its files; report every mistake and the memory of a rank");
  add_graph(validate_command, validate.graph, validate.sets);
  validate_command->add_flag("--json", validate.json, "Print JSON");
  add_bind(validate_command,
           "What the run will be given: memory is foreseen for its number of threads, with as many "
           "of its ranks on a node like this one as that has cores for");
  validate_command->callback([&] {
    validate.bind = bind_of(bind);
    validate_graph(validate, registry);
  });

  std::string show_graph;
  std::vector<std::string> show_sets;
  bool as_dot = false, as_json = false;
  auto* show_command =
      app.add_subcommand("show", "Print the resolved graph, with where each value came from");
  add_graph(show_command, show_graph, show_sets);
  show_command->add_flag("--dot", as_dot, "Print Graphviz");
  show_command->add_flag("--json", as_json, "Print JSON")->excludes("--dot");
  show_command->callback([&] {
    const GraphDefinition graph = load_graph(show_graph, show_sets, registry);
    fmt::print("{}", as_dot    ? graphviz(graph)
                     : as_json ? resolved_json(graph)
                               : resolved_yaml(graph));
  });

  app.add_subcommand("stages", "List the stages a graph may use")->callback([&] {
    fmt::print("{}", stage_table(registry));
  });

  std::string stage;
  bool as_markdown = false;
  auto* options_command = app.add_subcommand("options", "Explain a stage and its parameters");
  options_command->add_option("STAGE", stage, "Stage type, such as read.netcdf")->required();
  options_command->add_flag("--markdown", as_markdown, "Print the table of the stage's page");
  options_command->callback([&] {
    const StageDeclaration& declaration = find_stage(registry, stage);
    fmt::print("{}", as_markdown ? stage_markdown(declaration) : stage_options(declaration));
  });

  app.add_subcommand("schema", "Print the JSON Schema of graph definitions, for editors")
      ->callback([&] { fmt::print("{}", json_schema(registry)); });

  std::string file, window = "128x128";
  auto* inspect_command =
      app.add_subcommand("inspect", "Show what a reader sees in a file: channels, shapes, chunks");
  inspect_command->add_option("FILE", file, "Raster, NetCDF or HDF5 file")->required();
  inspect_command
      ->add_option("--window", window, "Window to predict the cost of reading for: HEIGHTxWIDTH")
      ->capture_default_str();
  inspect_command->callback(
      [&] { fmt::print("{}", inspect_text(io::inspect_file(file, parse_window(window)))); });

  add_stats_command(app, registry, exit_code);
  add_prepare_command(app, registry, exit_code);

  CheckpointArguments checkpoint;
  add_checkpoint_commands(app, checkpoint, exit_code);

  std::string directory;
  io::SampleDataOptions sample_data;
  auto* sample_command = app.add_subcommand(
      "sample-data", "Write small, physically plausible files to try every graph with");
  sample_command->add_option("DIR", directory, "Folder to write to")->required();
  sample_command->add_option("--seed", sample_data.seed, "Seed of the random numbers")
      ->capture_default_str();
  sample_command->callback([&] {
    io::write_sample_data(directory, sample_data);
    fmt::print(
        "{}: satellite/, era5/ and hyperspectral/ written; try\n"
        "  TRIB_DATA={} trib run graphs/hyperspectral_mae.yaml\n",
        directory, directory);
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(ExitCode::config);
  }
  return exit_code;
}

}  // namespace
}  // namespace trib::pipeline

int main(int argc, char** argv) {
  int exit_code = 0;
  try {
    exit_code = trib::pipeline::main_of(argc, argv);
  } catch (const trib::Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    exit_code = static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    exit_code = static_cast<int>(trib::ExitCode::runtime);
  }
  if (trib::pipeline::abandoned_threads() > 0) {
    std::fflush(nullptr);
    std::_Exit(exit_code);
  }
  return exit_code;
}
