// Memory, traffic and speed of one way to aggregate channels on a tensor axis: one point of the
// grid that bench/dchag runs. Trains a forecaster on random images for a few steps, on as many
// ranks as mpirun started, and prints one line of JSON with what the ranks measured.
//
//   mpirun -n 4 bench_dchag --channels 512 --mode dchag_l0
//   bench_dchag --channels 512 --mode dchag_l0 --predict --ranks 4     without running
//
// Axes: b sample, c channel, v target, h/w pixel rows and columns.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/resource.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include "model/model.h"
#include "model/optimizer.h"
#include "model/parallel/gradients.h"
#include "ops/base/error.h"
#include "ops/base/random.h"
#include "ops/comm/communicator.h"

namespace trib {
namespace {

constexpr std::uint64_t kSeed = 7;
constexpr int kTargets = 5;

struct Mode {
  const char* name;
  bool distributed;
  model::Hierarchy hierarchy;
  model::AggregationKind kind;
  std::int64_t tree;
  bool fused;
};

using enum model::Hierarchy;
using enum model::AggregationKind;

constexpr std::array kModes{
    Mode{"baseline", false, none, cross_attention, 0, false},
    Mode{"tokenization", true, none, cross_attention, 0, false},
    Mode{"dchag_c0", true, dchag, cross_attention, 0, false},
    Mode{"dchag_c2", true, dchag, cross_attention, 2, false},
    Mode{"dchag_c4", true, dchag, cross_attention, 4, false},
    Mode{"dchag_l0", true, dchag, linear, 0, false},
    Mode{"dchag_l2", true, dchag, linear, 2, false},
    Mode{"dchag_l4", true, dchag, linear, 4, false},
    Mode{"fused_baseline", false, none, cross_attention, 0, true},
    Mode{"fused_flat_c", true, none, cross_attention, 0, true},
    Mode{"fused_flat_l", true, none, linear, 0, true},
    Mode{"fused_dchag_c0", true, dchag, cross_attention, 0, true},
    Mode{"fused_dchag_l0", true, dchag, linear, 0, true},
    Mode{"fused_dchag_c4", true, dchag, cross_attention, 4, true},
};

struct Options {
  std::int64_t channels = 64, dim = 256, depth = 4, heads = 8, patch = 4, size = 64, batch = 2;
  std::int64_t steps = 3, partitions = 0;
  std::string mode = "baseline";
  int threads = 0, ranks = 1;
  bool predict = false, list_modes = false;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Measure one way to aggregate channels on the ranks of a tensor axis");
  app.add_option("--channels", options.channels, "Input channels")->capture_default_str();
  app.add_option("--dim", options.dim, "Embedding dim D")->capture_default_str();
  app.add_option("--depth", options.depth, "Transformer blocks")->capture_default_str();
  app.add_option("--heads", options.heads, "Attention heads")->capture_default_str();
  app.add_option("--patch", options.patch, "Pixels of a patch's side")->capture_default_str();
  app.add_option("--size", options.size, "Pixels of an image's side")->capture_default_str();
  app.add_option("--batch", options.batch, "Samples of a step")->capture_default_str();
  app.add_option("--mode", options.mode, "See --list-modes")->capture_default_str();
  app.add_option("--steps", options.steps, "Timed steps, after one to warm up")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--partitions", options.partitions, "Of D-CHAG; 0: as many as ranks");
  app.add_option("--threads", options.threads, "Compute threads a rank; 0: cores / ranks");
  app.add_flag("--predict", options.predict, "Print the predicted memory of all ranks, do not run");
  app.add_option("--ranks", options.ranks, "Ranks to predict for")->check(CLI::PositiveNumber);
  app.add_flag("--list-modes", options.list_modes, "Print the names of the modes");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    std::exit(code == 0 ? 0 : static_cast<int>(ExitCode::config));
  }
  return options;
}

const Mode& mode_of(const Options& options) {
  const auto* const found = std::find_if(
      kModes.begin(), kModes.end(), [&](const Mode& mode) { return options.mode == mode.name; });
  if (found == kModes.end()) {
    throw ConfigError(fmt::format("--mode {}: expected one of --list-modes", options.mode));
  }
  return *found;
}

// Cores of the machine are shared by the ranks mpirun put on it, whatever they are bound to.
int compute_threads(const Options& options, int ranks) {
  if (options.threads > 0) return options.threads;
  cpu_set_t set;
  CPU_ZERO(&set);
  const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, cores / ranks);
}

std::unique_ptr<model::Model> make_model(const Options& options, int ranks, int rank) {
  const Mode& mode = mode_of(options);
  model::InputSpec input{.channels = {}, .height = options.size, .width = options.size};
  for (std::int64_t c = 0; c < options.channels; ++c) {
    input.channels.push_back(fmt::format("c{}", c));
  }
  for (int v = 0; v < kTargets; ++v) input.targets.push_back(fmt::format("target{}", v));
  const model::Division division{.ranks = ranks,
                                 .rank = rank,
                                 .distributed = mode.distributed,
                                 .partitions = mode.hierarchy == dchag ? options.partitions : 0};
  auto made = std::make_unique<model::Model>(std::move(input), division);
  made->add_tokenizer({.patch = options.patch, .dim = options.dim});
  made->add_aggregation({.kind = mode.kind,
                         .heads = options.heads,
                         .hierarchy = mode.hierarchy,
                         .tree = mode.tree,
                         .share = true,
                         .fused = mode.fused});
  made->add_encoder({.depth = options.depth, .heads = options.heads, .lead_time = true});
  made->add_forecast_head({.depth = 2});
  return made;
}

// Bytes of the own images, of channels and of targets.
std::int64_t input_bytes(const Options& options, const model::Model& model) {
  const std::int64_t images = model.own_channels().size() + std::ssize(model.own_targets());
  return 4 * options.batch * images * options.size * options.size;
}

// Values, gradients and two moments are as large as each other.
std::int64_t predicted_bytes(const Options& options, const model::Model& model) {
  return model.arena_bytes(options.batch, /*training=*/true) + 4 * 4 * model.table().flat_size() +
         model::partial_gradient_bytes(model.table(), model.group()) + input_bytes(options, model);
}

// What Open MPI takes beside the ledger, measured: a copy of the vector it adds up, another to
// scatter the sums. Only gradients of all tokens are large enough to matter.
std::int64_t mpi_bytes(const Options& options, const model::Model& model) {
  const Mode& mode = mode_of(options);
  if (model.group().is_alone() || mode.fused || mode.hierarchy == dchag) return 0;
  const std::int64_t copies = mode.distributed ? 2 : 1;
  return copies * 4 * options.batch * model.tokens() * options.channels * options.dim;
}

nlohmann::ordered_json predict(const Options& options) {
  std::int64_t total = 0, largest = 0, activations = 0;
  for (int rank = 0; rank < options.ranks; ++rank) {
    const auto model = make_model(options, options.ranks, rank);
    const std::int64_t bytes = predicted_bytes(options, *model);
    total += bytes + mpi_bytes(options, *model);
    largest = std::max(largest, bytes);
    activations = std::max(activations, model->arena_bytes(options.batch, /*training=*/true));
  }
  return {{"ranks", options.ranks},
          {"predicted_total_bytes", total},
          {"predicted_rank_bytes", largest},
          {"predicted_activations_bytes", activations}};
}

Tensor random_images(std::int64_t batch, const std::vector<std::int64_t>& channels,
                     std::int64_t size, const std::string& stream) {
  Tensor x =
      Tensor::empty({batch, std::ssize(channels), size, size}, DType::f32, MemoryKind::ingest);
  const RandomStream random(kSeed, stream);
  float* values = x.data<float>();
  for (std::int64_t b = 0; b < batch; ++b) {
    for (const std::int64_t channel : channels) {
      const RandomStream image = random.substream(static_cast<std::uint64_t>(b) << 32U |
                                                  static_cast<std::uint64_t>(channel));
      for (std::int64_t i = 0; i < size * size; ++i) {
        *values++ = 2 * image.uniform(static_cast<std::uint64_t>(i)) - 1;
      }
    }
  }
  return x;
}

// A rank's model in training, in the order of things of pipeline/engine/trainer.cc.
class Training {
 public:
  Training(const Options& options, ops::Communicator& communicator)
      : communicator_(communicator),
        model_(make_model(options, communicator.size(ops::MeshAxis::tensor),
                          communicator.rank(ops::MeshAxis::tensor))),
        parameters_(model_->table()),
        optimizer_(model::ShardLayout(model_->table()), {}),
        arena_(static_cast<std::size_t>(model_->arena_bytes(options.batch, /*training=*/true))) {
    model_->connect(communicator);
    parameters_.initialize(kSeed);
    std::vector<std::int64_t> channels;
    for (std::int64_t c = model_->own_channels().begin; c < model_->own_channels().end; ++c) {
      channels.push_back(c);
    }
    input_.x_bchw = random_images(options.batch, channels, options.size, "x");
    input_.target_bvhw =
        random_images(options.batch, model_->own_targets(), options.size, "target");
    for (std::int64_t b = 0; b < options.batch; ++b) {
      input_.lead_hours.push_back(static_cast<float>(6 * (b + 1)));
      input_.sample_keys.push_back(static_cast<std::uint64_t>(b));
    }
  }

  double step() {
    communicator_.enter(ops::Phase::forward);
    arena_.reset();
    parameters_.zero_gradients();
    model::Step step(input_, arena_, parameters_, /*train=*/true);
    model_->begin(step, kSeed);
    model_->forward(step);
    communicator_.enter(ops::Phase::backward);
    model_->backward(step, parameters_);
    model::reduce_partial_gradients(parameters_, model_->group());
    communicator_.enter(ops::Phase::optimizer);
    optimizer_.step(parameters_, 1e-4);
    communicator_.enter(ops::Phase::setup);
    return step.loss;
  }

  const model::Model& model() const { return *model_; }
  const StepArena& arena() const { return arena_; }

 private:
  ops::Communicator& communicator_;
  std::unique_ptr<model::Model> model_;
  model::Parameters parameters_;
  model::AdamW optimizer_;
  StepArena arena_;
  model::StepInput input_;
};

/// The rows of all ranks, one after the other.
std::vector<double> gather(ops::Communicator& communicator, std::span<const double> mine) {
  std::vector<double> all(mine.size() * static_cast<std::size_t>(communicator.size()));
  communicator
      .all_gather(ops::MeshAxis::world, std::as_bytes(mine), std::as_writable_bytes(std::span(all)))
      .wait();
  return all;
}

/// Of each column of the rows of all ranks, the largest value.
std::vector<double> largest(ops::Communicator& communicator, std::span<const double> mine) {
  const std::vector<double> all = gather(communicator, mine);
  std::vector<double> columns(all.begin(), all.begin() + std::ssize(mine));
  for (std::size_t i = 0; i < all.size(); ++i) {
    columns[i % mine.size()] = std::max(columns[i % mine.size()], all[i]);
  }
  return columns;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Memory of the rank that has most of it, by kind.
nlohmann::ordered_json memory_report(ops::Communicator& communicator, const Training& training,
                                     const Options& options) {
  std::vector<double> mine;
  double total = 0;
  for (const MemoryUse& use : memory_ledger::snapshot()) {
    mine.push_back(static_cast<double>(use.peak));
    total += static_cast<double>(use.peak);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double rss = static_cast<double>(usage.ru_maxrss) * 1024;
  mine.insert(mine.end(), {total, static_cast<double>(training.arena().peak()),
                           static_cast<double>(predicted_bytes(options, training.model())), rss});
  const std::vector<double> most = largest(communicator, mine);
  double rss_of_all = 0;
  for (const double of_rank : gather(communicator, std::span(&rss, 1))) rss_of_all += of_rank;

  nlohmann::ordered_json report;
  for (std::size_t k = 0; k < kMemoryKinds; ++k) {
    report[fmt::format("{}_bytes", name_of(static_cast<MemoryKind>(k)))] = std::llround(most[k]);
  }
  report["ledger_bytes"] = std::llround(most[kMemoryKinds]);
  report["arena_bytes"] = std::llround(most[kMemoryKinds + 1]);
  report["predicted_bytes"] = std::llround(most[kMemoryKinds + 2]);
  report["rss_bytes"] = std::llround(most[kMemoryKinds + 3]);
  report["rss_all_bytes"] = std::llround(rss_of_all);
  return report;
}

// What the busiest rank handed to collectives of the tensor axis, a step.
nlohmann::ordered_json traffic_report(ops::Communicator& communicator,
                                      const ops::TrafficLedger::Snapshot& before,
                                      const ops::TrafficLedger::Snapshot& after, double steps) {
  constexpr auto kTensor = static_cast<std::size_t>(ops::MeshAxis::tensor);
  nlohmann::ordered_json report;
  for (const ops::Phase phase : {ops::Phase::forward, ops::Phase::backward}) {
    const auto p = static_cast<std::size_t>(phase);
    std::vector<double> mine(1 + 2 * ops::kCollectives);
    for (std::size_t k = 0; k < ops::kCollectives; ++k) {
      const ops::Traffic &from = before[k][kTensor][p], &to = after[k][kTensor][p];
      mine[1 + 2 * k] = static_cast<double>(to.calls - from.calls) / steps;
      mine[2 + 2 * k] = static_cast<double>(to.bytes - from.bytes) / steps;
      mine[0] += mine[2 + 2 * k];
    }
    const std::vector<double> most = largest(communicator, mine);
    const std::string name(name_of(phase));
    report[name + "_sent_bytes"] = std::llround(most[0]);
    for (const ops::Collective collective :
         {ops::Collective::all_gather, ops::Collective::all_reduce,
          ops::Collective::reduce_scatter}) {
      const auto k = static_cast<std::size_t>(collective);
      const std::string key = fmt::format("{}_{}", name, name_of(collective));
      report[key + "_calls"] = most[1 + 2 * k];
      report[key + "_bytes"] = std::llround(most[2 + 2 * k]);
    }
  }
  return report;
}

nlohmann::ordered_json measure(const Options& options, ops::Communicator& communicator,
                               int threads) {
  using Clock = std::chrono::steady_clock;
  Training training(options, communicator);
  memory_ledger::reset_peaks();
  training.step();
  const auto before = communicator.traffic().snapshot();
  std::vector<double> seconds;
  double loss = 0;
  for (std::int64_t i = 0; i < options.steps; ++i) {
    communicator.barrier(ops::MeshAxis::world).wait();
    const auto start = Clock::now();
    loss = training.step();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  const auto after = communicator.traffic().snapshot();
  if (!std::isfinite(loss)) throw RuntimeError(fmt::format("loss {} after training", loss));

  // A step ends when its last rank does.
  const std::vector<double> steps = largest(communicator, seconds);
  nlohmann::ordered_json report{
      {"ranks", communicator.size()},
      {"threads", threads},
      {"parameters", training.model().table().count()},
      {"gflop", static_cast<double>(training.model().flops(options.batch)) / 1e9},
      {"loss", loss},
      {"step_seconds", median(steps)},
      {"fastest_step_seconds", *std::min_element(steps.begin(), steps.end())},
      {"samples_per_second", static_cast<double>(options.batch) / median(steps)}};
  report.update(memory_report(communicator, training, options));
  report.update(traffic_report(communicator, before, after, static_cast<double>(options.steps)));
  return report;
}

void print(const Options& options, const nlohmann::ordered_json& measured) {
  nlohmann::ordered_json line{{"mode", options.mode}, {"channels", options.channels}};
  line.update(measured);
  std::cout << line.dump() << std::endl;
}

int run(const Options& options) {
  if (options.list_modes) {
    for (const Mode& mode : kModes) std::cout << mode.name << '\n';
    return 0;
  }
  std::optional<ops::Communicator> communicator;
  try {
    mode_of(options);
    if (options.predict) {
      print(options, predict(options));
      return 0;
    }
    communicator.emplace();
    communicator->split({.tensor = communicator->size()});
    const int threads = compute_threads(options, communicator->size());
    // Beside the communication thread, which sleeps while nothing is to be sent.
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(threads));
    tbb::task_arena arena(threads, 1);
    const auto measured = arena.execute([&] { return measure(options, *communicator, threads); });
    if (communicator->rank() == 0) print(options, measured);
    return 0;
  } catch (const Error& error) {
    std::cerr << "error: " << error.what() << std::endl;
    const int code = static_cast<int>(error.exit_code());
    if (communicator && communicator->size() > 1) communicator->abort(code);
    return code;
  }
}

}  // namespace
}  // namespace trib

int main(int argc, char** argv) {
  return trib::run(trib::parse(argc, argv));
}
