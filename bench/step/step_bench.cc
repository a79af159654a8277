// A training step of a preset model: how long it takes beside what this machine can do, and where
// the time goes.
//
//   bench_step --preset vit_s_144 --threads 2
//   bench_step --preset vit_s_144 --profile          and the kernels of a step
//   mpirun -n 2 bench_step --preset vit_s_144 --threads 1     ranks share the batch
//
// A step is forward, backward, the reduction of gradients between ranks, and AdamW, on random data
// that is there already. Medians. Products are measured before the steps and after them, so that a
// moment's load does not pass for the machine's limit; copies after them, because of their memory.

#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/step/report.h"
#include "bench/step/training.h"
#include "bench/support/ranks.h"

namespace trib::bench {
namespace {

struct Options {
  std::string preset = "vit_s_144", precision = "fp32", dump;
  std::int64_t batch = 0, steps = 10, warmup = 2, recompute = 0;
  int threads = 0;
  bool profile = false, json = false, list = false;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Measure a training step of a preset model");
  app.add_option("--preset", options.preset, "See --list")->capture_default_str();
  app.add_option("--precision", options.precision, "Of weights and activations")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--batch", options.batch, "Samples of a step, of all ranks; 0: the preset's");
  app.add_option("--steps", options.steps, "Timed steps")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--warmup", options.warmup, "Steps before these")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--threads", options.threads, "Compute threads a rank; 0: cores / ranks");
  app.add_option("--recompute", options.recompute,
                 "Blocks of a segment that backward computes again; 0: none")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--profile", options.profile, "Measure the kernels of as many more steps");
  app.add_flag("--json", options.json, "Print one line of JSON instead of text");
  app.add_option("--dump", options.dump,
                 "Write what the first step begins with and computes as safetensors, and end");
  app.add_flag("--list", options.list, "Print the names of the presets");
  parse_or_exit(app, argc, argv);
  return options;
}

ModelChoices choices_of(const Options& options) {
  return {
      .precision = options.precision == "bf16" ? model::Precision::bf16 : model::Precision::fp32,
      .recompute = options.recompute};
}

std::vector<double> sums(ops::Communicator& communicator, std::vector<double> values) {
  communicator.all_reduce_sum(ops::MeshAxis::world, std::span(values)).wait();
  return values;
}

struct Measured {
  StepFigures figures;
  std::optional<StepProfile> profile = {};
};

StepProfile profile_steps(Training& training, ops::Communicator& communicator, std::int64_t steps) {
  kernel_profile::start();
  const TimedSteps timed = timed_steps(communicator, steps, [&] { return training.step(); });
  kernel_profile::stop();
  StepProfile profile{.kernels = kernel_profile::entries(), .steps = static_cast<double>(steps)};
  for (const double second : timed.seconds) profile.seconds += second;
  return profile;
}

/// Of all ranks' threads together.
MachineRates sum(ops::Communicator& communicator, const MachineRates& own) {
  const std::vector<double> all = sums(communicator, {static_cast<double>(own.threads), own.gflops,
                                                      own.copy_gbytes, own.bf16_gflops});
  return {.threads = static_cast<int>(all[0]),
          .serial_gflops = own.serial_gflops,
          .gflops = all[1],
          .copy_gbytes = all[2],
          .bf16_gflops = all[3]};
}

Measured measure(const Options& options, ops::Communicator& communicator) {
  const Preset& preset = preset_of(options.preset);
  const std::int64_t batch = options.batch > 0 ? options.batch : preset.batch;
  Measured measured{.figures = {.preset = options.preset,
                                .precision = options.precision,
                                .ranks = communicator.size(),
                                .batch = batch,
                                .recompute = options.recompute}};
  StepFigures& figures = measured.figures;
  const bool with_bf16 = options.precision == "bf16";
  communicator.barrier(ops::MeshAxis::world).wait();
  MachineRates machine = measure_products(with_bf16);
  {
    Training training(preset, choices_of(options), batch, communicator);
    for (std::int64_t i = 0; i < options.warmup; ++i) training.step();
    const TimedSteps timed =
        timed_steps(communicator, options.steps, [&] { return training.step(); });
    figures.seconds = largest(communicator, timed.seconds);
    figures.loss = timed.loss;
    figures.parameters = training.model().table().count();
    figures.flops = static_cast<double>(training.model().flops(batch));
    const double activations = static_cast<double>(training.arena().peak());
    figures.activation_bytes = largest(communicator, std::span(&activations, 1)).front();
    figures.rss_bytes = sums(communicator, {resident_bytes()}).front();
    if (options.profile) measured.profile = profile_steps(training, communicator, options.steps);
  }
  communicator.barrier(ops::MeshAxis::world).wait();
  machine.take_best(measure_products(with_bf16));
  machine.copy_gbytes = measure_copy();
  figures.machine = sum(communicator, machine);
  return measured;
}

void print(const Options& options, const Measured& measured) {
  if (options.json) {
    nlohmann::ordered_json line = to_json(measured.figures);
    if (measured.profile) line["kernels"] = to_json(measured.figures, *measured.profile);
    std::cout << line.dump() << std::endl;
    return;
  }
  std::cout << to_text(measured.figures);
  if (measured.profile) std::cout << '\n' << to_text(measured.figures, *measured.profile);
}

void run_on_threads(const Options& options, ops::Communicator& communicator) {
  if (!options.dump.empty()) {
    const Preset& preset = preset_of(options.preset);
    Training(preset, choices_of(options), options.batch > 0 ? options.batch : preset.batch,
             communicator)
        .dump(options.dump);
    return;
  }
  const Measured measured = measure(options, communicator);
  if (communicator.rank() == 0) print(options, measured);
}

int run(const Options& options) {
  if (options.list) {
    for (const Preset& preset : presets()) fmt::print("{:18} {}\n", preset.name, preset.what);
    return 0;
  }
  return exit_code_of([&] {
    preset_of(options.preset);
    on_ranks(ops::MeshAxis::data, options.threads,
             [&](ops::Communicator& communicator, int) { run_on_threads(options, communicator); });
  });
}

}  // namespace
}  // namespace trib::bench

int main(int argc, char** argv) {
  return trib::bench::run(trib::bench::parse(argc, argv));
}
