// Memory, traffic and speed of one way to aggregate channels on a tensor axis: one point of the
// grid that bench/dchag/dchag.py runs. Trains a forecaster on random images for a few steps, on as
// many ranks as mpirun started, and prints one line of JSON with what the ranks measured.
//
//   mpirun -n 4 bench_dchag --channels 512 --mode dchag_l0
//   bench_dchag --channels 512 --mode dchag_l0 --predict --ranks 4     without running
//
// Axes: b sample, c channel, v target, h/w pixel rows and columns.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/dchag/point.h"
#include "bench/support/ranks.h"
#include "model/model.h"
#include "model/optimizer.h"
#include "model/parallel/gradients.h"
#include "ops/base/memory_ledger.h"
#include "ops/base/random.h"
#include "ops/comm/communicator.h"

namespace trib::bench {
namespace {

constexpr std::uint64_t kSeed = 7;

struct Options {
  Point point;
  std::int64_t steps = 3;
  int threads = 0, ranks = 1;
  bool predict = false, list_modes = false;
};

Options parse(int argc, char** argv) {
  Options options;
  Point& point = options.point;
  CLI::App app("Measure one way to aggregate channels on the ranks of a tensor axis");
  app.add_option("--channels", point.channels, "Input channels")->capture_default_str();
  app.add_option("--dim", point.dim, "Embedding dim D")->capture_default_str();
  app.add_option("--depth", point.depth, "Transformer blocks")->capture_default_str();
  app.add_option("--heads", point.heads, "Attention heads")->capture_default_str();
  app.add_option("--patch", point.patch, "Pixels of a patch's side")->capture_default_str();
  app.add_option("--size", point.size, "Pixels of an image's side")->capture_default_str();
  app.add_option("--batch", point.batch, "Samples of a step")->capture_default_str();
  app.add_option("--mode", point.mode, "See --list-modes")->capture_default_str();
  app.add_option("--steps", options.steps, "Timed steps, after one to warm up")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--partitions", point.partitions, "Of D-CHAG; 0: as many as ranks");
  app.add_option("--threads", options.threads, "Compute threads a rank; 0: cores / ranks");
  app.add_flag("--predict", options.predict, "Print the predicted memory of all ranks, do not run");
  app.add_option("--ranks", options.ranks, "Ranks to predict for")->check(CLI::PositiveNumber);
  app.add_flag("--list-modes", options.list_modes, "Print the names of the modes");
  parse_or_exit(app, argc, argv);
  return options;
}

nlohmann::ordered_json predict(const Point& point, int ranks) {
  std::int64_t total = 0, largest = 0, activations = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto model = make_model(point, ranks, rank);
    const std::int64_t bytes = predicted_bytes(point, *model);
    total += bytes + mpi_bytes(point, *model);
    largest = std::max(largest, bytes);
    activations = std::max(activations, model->arena_bytes(point.batch, /*training=*/true));
  }
  return {{"ranks", ranks},
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
  Training(const Point& point, ops::Communicator& communicator)
      : communicator_(communicator),
        model_(make_model(point, communicator.size(ops::MeshAxis::tensor),
                          communicator.rank(ops::MeshAxis::tensor))),
        parameters_(model_->table()),
        optimizer_(model::ShardLayout(model_->table()), {}),
        arena_(static_cast<std::size_t>(model_->arena_bytes(point.batch, /*training=*/true))) {
    model_->connect(communicator);
    parameters_.initialize(kSeed);
    std::vector<std::int64_t> channels;
    for (std::int64_t c = model_->own_channels().begin; c < model_->own_channels().end; ++c) {
      channels.push_back(c);
    }
    input_.x_bchw = random_images(point.batch, channels, point.size, "x");
    input_.target_bvhw = random_images(point.batch, model_->own_targets(), point.size, "target");
    for (std::int64_t b = 0; b < point.batch; ++b) {
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

// Memory of the rank that has most of it, by kind.
nlohmann::ordered_json memory_report(ops::Communicator& communicator, const Training& training,
                                     const Point& point) {
  std::vector<double> mine;
  double total = 0;
  for (const MemoryUse& use : memory_ledger::snapshot()) {
    mine.push_back(static_cast<double>(use.peak));
    total += static_cast<double>(use.peak);
  }
  const double rss = resident_bytes();
  mine.insert(mine.end(), {total, static_cast<double>(training.arena().peak()),
                           static_cast<double>(predicted_bytes(point, training.model())), rss});
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

nlohmann::ordered_json measure(const Point& point, ops::Communicator& communicator, int threads,
                               std::int64_t count) {
  Training training(point, communicator);
  memory_ledger::reset_peaks();
  training.step();
  const auto before = communicator.traffic().snapshot();
  const TimedSteps timed = timed_steps(communicator, count, [&] { return training.step(); });
  const auto after = communicator.traffic().snapshot();

  // A step ends when its last rank does.
  const std::vector<double> steps = largest(communicator, timed.seconds);
  nlohmann::ordered_json report{
      {"ranks", communicator.size()},
      {"threads", threads},
      {"parameters", training.model().table().count()},
      {"gflop", static_cast<double>(training.model().flops(point.batch)) / 1e9},
      {"loss", timed.loss},
      {"step_seconds", median(steps)},
      {"fastest_step_seconds", *std::min_element(steps.begin(), steps.end())},
      {"samples_per_second", static_cast<double>(point.batch) / median(steps)}};
  report.update(memory_report(communicator, training, point));
  report.update(traffic_report(communicator, before, after, static_cast<double>(count)));
  return report;
}

void print(const Options& options, const nlohmann::ordered_json& measured) {
  nlohmann::ordered_json line{{"mode", options.point.mode}, {"channels", options.point.channels}};
  line.update(measured);
  std::cout << line.dump() << std::endl;
}

int run(const Options& options) {
  if (options.list_modes) {
    for (const Mode& mode : modes()) std::cout << mode.name << '\n';
    return 0;
  }
  return exit_code_of([&] {
    mode_of(options.point);
    if (options.predict) {
      print(options, predict(options.point, options.ranks));
      return;
    }
    on_ranks(ops::MeshAxis::tensor, options.threads,
             [&](ops::Communicator& communicator, int threads) {
               const auto measured = measure(options.point, communicator, threads, options.steps);
               if (communicator.rank() == 0) print(options, measured);
             });
  });
}

}  // namespace
}  // namespace trib::bench

int main(int argc, char** argv) {
  return trib::bench::run(trib::bench::parse(argc, argv));
}
