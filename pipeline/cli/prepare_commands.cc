#include "pipeline/cli/prepare_commands.h"

#include <charconv>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/prepare/prepare.h"

namespace trib::pipeline {
namespace {

constexpr int kZstdLevel = 3;  // zstd's own default
constexpr int kHighestZstdLevel = 19;

struct Arguments {
  PrepareOptions options;
  std::string part = "1/1", shard_size = "1GB", compress = "none", dtype = "float32", split = "all";
  bool verify = false;
};

/// "none", "zstd" or "zstd:7".
int zstd_level(const std::string& text) {
  if (text == "none") return 0;
  if (text == "zstd") return kZstdLevel;
  int level = 0;
  const std::string prefix = "zstd:";
  const char* const end = text.data() + text.size();
  const bool has_level = text.starts_with(prefix);
  const auto [stop, problem] =
      has_level ? std::from_chars(text.data() + prefix.size(), end, level)
                : std::from_chars_result{text.data(), std::errc::invalid_argument};
  if (problem != std::errc() || stop != end || level < 1 || level > kHighestZstdLevel) {
    throw ConfigError(
        fmt::format("--compress {}: expected none, zstd or zstd:LEVEL with a level "
                    "of 1 to {}",
                    text, kHighestZstdLevel));
  }
  return level;
}

void run(Arguments& arguments, const Registry& registry, int& exit_code) {
  PrepareOptions& options = arguments.options;
  if (arguments.verify) {
    exit_code = verify_samples(options.graph);
    return;
  }
  if (options.out.empty()) throw ConfigError("prepare: OUT, the folder to write to, is required");
  options.part = PartOfWork::parse(arguments.part);
  options.shard_bytes =
      parameters_from_text({param::bytes("shard-size", "Bytes of a shard.").above(0)},
                           fmt::format("{{shard-size: {}}}", arguments.shard_size))
          .bytes("shard-size");
  options.zstd_level = zstd_level(arguments.compress);
  options.type = arguments.dtype == "float16" ? io::PreparedType::f16 : io::PreparedType::f32;
  if (arguments.split != "all") options.splits = {arguments.split};
  exit_code = prepare_samples(options, registry);
}

}  // namespace

void add_prepare_command(CLI::App& app, const Registry& registry, int& exit_code) {
  auto arguments = std::make_shared<Arguments>();
  PrepareOptions& options = arguments->options;
  auto* command = app.add_subcommand(
      "prepare", "Write the samples of a graph as shards in the order of a training");
  command
      ->add_option("GRAPH", options.graph,
                   "Graph definition (YAML); with --verify the folder to check")
      ->required();
  command->add_option("OUT", options.out,
                      "Folder to write to; what is there of the same preparation is gone on with");
  command->add_option("NODE", options.node,
                      "Node whose output is prepared; left out: what comes to the batch node");
  command->add_option("--set", options.sets, "Replace a value of the graph: node.param=value")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--part", arguments->part, "Make the shards of one of N jobs")
      ->type_name("I/N");
  auto* size =
      command->add_option("--shard-size", arguments->shard_size, "Bytes of a shard at most")
          ->capture_default_str();
  command->add_option("--shard-samples", options.shard_samples, "Samples of a shard")
      ->check(CLI::PositiveNumber)
      ->excludes(size);
  command
      ->add_option("--compress", arguments->compress,
                   "none, zstd or zstd:LEVEL; each sample is compressed for itself")
      ->capture_default_str();
  command->add_option("--dtype", arguments->dtype, "Type of the stored values")
      ->check(CLI::IsMember({"float32", "float16"}))
      ->capture_default_str();
  command
      ->add_option("--split", arguments->split,
                   "What is trained on (train), what is held out (eval), or both")
      ->check(CLI::IsMember({"all", "train", "eval"}))
      ->capture_default_str();
  command
      ->add_option("--epochs", options.epochs,
                   "Epochs of the training split, one after another: with other crops each")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--finish", options.finish_only,
                    "Write no shard, but the index; an error if shards are missing");
  command->add_flag("--verify", arguments->verify, "Compare all checksums of a prepared folder");
  command->add_flag("-q,--quiet", options.quiet, "Print nothing but errors");
  command->callback([arguments, &registry, &exit_code] { run(*arguments, registry, exit_code); });
}

}  // namespace trib::pipeline
