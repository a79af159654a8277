// Many small graphs with the least budget that is allowed must all come to their end.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "pipeline/engine/engine.h"
#include "pipeline/run/forward_only.h"
#include "pipeline/stages/builtin.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

/// Calls stop() unless it is destroyed before the time is up.
class Watchdog {
 public:
  Watchdog(std::chrono::seconds limit, std::function<void()> stop)
      : thread_([this, limit, stop = std::move(stop)] {
          std::unique_lock lock(mutex_);
          if (ended_.wait_for(lock, limit, [this] { return done_; })) return;
          expired_ = true;
          stop();
        }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }
  bool expired() const { return expired_; }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;
  std::atomic<bool> expired_{false};
  std::thread thread_;
};

struct Case {
  std::string yaml;
  bool trains = false;
  int ranks = 1;
};

Case random_case(std::mt19937& random) {
  const auto in = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  Case c;
  c.ranks = in(1, 3);
  c.trains = in(0, 1) == 1;
  const int sources = in(1, 3);
  std::string nodes, inputs;
  for (int s = 0; s < sources; ++s) {
    // Some epochs are smaller than a batch, some images cannot be read, and some reads take long.
    nodes += fmt::format(
        "  read{0}: {{type: read.synthetic, channels: 2, size: [8, 12], items: {1}, fail_at: {2}, "
        "on_error: skip, order: {3}, delay: {4}s}}\n",
        s, in(2, 12), in(-1, 3), in(0, 1) == 1 ? "shuffled" : "sequential", in(0, 3) * 1e-4);
    nodes += fmt::format("  crop{0}: {{type: crop, from: read{0}, size: 4, {1}}}\n", s,
                         in(0, 1) == 1 ? fmt::format("per_image: {}", in(1, 9)) : "mode: grid");
    inputs += fmt::format("{}crop{}", s > 0 ? ", " : "", s);
    if (in(0, 2) == 0) nodes += fmt::format("  aside{0}: {{type: sink, from: crop{0}}}\n", s);
  }
  nodes += fmt::format("  batches: {{type: batch, from: [{}], size: {}, shuffle: {}}}\n", inputs,
                       c.ranks * in(1, 7), in(0, 2) == 0 ? 0 : in(1, 60));
  if (c.trains) {
    nodes +=
        "  tokens: {type: model.tokenize, from: batches, patch: 2, dim: 4}\n"
        "  channels: {type: model.aggregate, from: tokens, kind: linear}\n"
        "  encoder: {type: model.encoder, from: channels, depth: 0}\n"
        "  recon: {type: model.mae_head, from: encoder, dim: 4, depth: 0}\n"
        "  train: {type: train, from: recon, steps: 40}\n";
  } else {
    nodes += "  end: {type: sink, from: batches}\n";
  }
  c.yaml = "name: stress\nseed: 9\nnodes:\n" + nodes;
  return c;
}

TEST(EngineStress, TheLeastBudgetIsEnough) {
  const test::TempDir folder;
  const std::string path = folder.file("graph.yaml");
  Registry registry;
  register_builtin_stages(registry);
  std::mt19937 random(20240229);
  for (int number = 0; number < 150; ++number) {
    const Case c = random_case(random);
    std::ofstream(path) << c.yaml;
    for (int rank = 0; rank < c.ranks; ++rank) {
      PlanOptions options;
      options.seed = 9;
      options.mesh.data = c.ranks;
      options.place.data = rank;
      const IngestLimits least = Plan(load_graph(path, {}, registry), registry, options).ingest();
      const GraphDefinition graph = load_graph(path,
                                               {fmt::format("ingest.items={}", least.least_items),
                                                fmt::format("ingest.bytes={}", least.least_bytes)},
                                               registry);
      Plan plan(graph, registry, options);
      Threads threads(1 + number % 2, 1 + number % 3);
      Ingest ingest(plan, threads);
      std::optional<Engine> engine;
      std::int64_t steps = 0;
      StepHandler handler;
      std::optional<ForwardOnly> forward;
      if (c.trains) {
        forward.emplace(plan, nullptr);
        handler = forward->handler({}, {});
        handler.ends_run = true;
        handler.finish = [&](StepMessage&) {
          if (++steps == 40) engine->stop();
        };
      }
      engine.emplace(plan, threads, ingest, std::move(handler));
      const Watchdog watchdog(std::chrono::seconds(60), [&] { engine->stop(); });
      const EngineReport report = engine->run();
      ASSERT_FALSE(watchdog.expired()) << "rank " << rank << " of " << c.ranks << " with items "
                                       << least.least_items << " stands still:\n"
                                       << c.yaml;
      EXPECT_LE(report.peak_items, least.least_items);
      EXPECT_LE(report.peak_bytes, least.least_bytes);
      if (c.trains) {
        EXPECT_EQ(steps, 40);
      }
    }
  }
}

// All ranks together deliver every sample of an epoch once, a last smaller batch included.
TEST(EngineStress, NothingIsLostAtTheEnd) {
  const test::TempDir folder;
  const std::string path = folder.file("graph.yaml");
  Registry registry;
  register_builtin_stages(registry);
  for (const int ranks : {1, 2, 3}) {
    std::ofstream(path) << R"(name: rest
nodes:
  images:  {type: read.synthetic, channels: 1, size: [8, 8], items: 23}
  crops:   {type: crop, from: images, size: 4, per_image: 3}
  batches: {type: batch, from: crops, size: 12, shuffle: 20}
  end:     {type: sink, from: batches}
)";
    std::int64_t samples = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      PlanOptions options;
      options.mesh.data = ranks;
      options.place.data = rank;
      const GraphDefinition graph = load_graph(path, {}, registry);
      Plan plan(graph, registry, options);
      Threads threads(1, 2);
      Ingest ingest(plan, threads);
      samples += Engine(plan, threads, ingest, {}).run().samples;
    }
    EXPECT_EQ(samples, 23 * 3) << ranks << " ranks";
  }
}

// What is left of a read when its packet has been taken must not hold the packet, and with it
// credits of a budget that ends with the run.
TEST(EngineStress, WhoGetsAPacketIsItsSoleOwner) {
  const test::TempDir folder;
  const std::string path = folder.file("graph.yaml");
  Registry registry;
  register_builtin_stages(registry);
  for (const char* timeout : {"0s", "60s"}) {
    std::ofstream(path) << fmt::format(R"(name: owner
nodes:
  images: {{type: read.synthetic, channels: 1, size: [8, 8], items: 5, fail_at: 3, on_error: skip,
           max_skipped: 1, timeout: {}}}
  end:    {{type: sink, from: images}}
)",
                                       timeout);
    const GraphDefinition graph = load_graph(path, {}, registry);
    Plan plan(graph, registry, {});
    Threads threads(1, 2);
    Ingest ingest(plan, threads);
    Sampler sampler(plan.sampler_options(Split::train));
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<long> owners;
    for (int read = 0; read < 5; ++read) {
      ingest.start_read(
          Split::train, *sampler.next(), [] { return SampleSlot(); },
          [&](const PacketPtr& packet, const std::exception_ptr&) {
            const std::lock_guard lock(mutex);
            owners.push_back(packet.use_count());
            changed.notify_one();
          });
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return owners.size() == 5; });
    EXPECT_EQ(owners, std::vector<long>(5, 1)) << "timeout: " << timeout;
  }
}

}  // namespace
}  // namespace trib::pipeline
