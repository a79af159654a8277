// How near read.prepared comes to the speed of memory, and of zstd: the engine from files to
// batches, beside plain copies of as many bytes by as many threads, in turns.
//
//   bench_prepared FOLDER... [--threads 1,2] [--repeats 7] [--batch 16]
//
// Each FOLDER is one split of prepared samples. The first epoch compares checksums; the others are
// measured. Files are in the page cache by then.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>
#include <zstd.h>

#include "io/prepared/mapped_file.h"
#include "io/prepared/npy.h"
#include "io/prepared/prepared_index.h"
#include "pipeline/engine/engine.h"
#include "pipeline/engine/ingest.h"
#include "pipeline/engine/plan.h"
#include "pipeline/engine/threads.h"
#include "pipeline/graph/graph_definition.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace {

using namespace trib;
using namespace trib::pipeline;

constexpr std::int64_t kBatchesInFlight = 4;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Call work(thread) on so many threads and wait.
void on_threads(int threads, const std::function<void(int)>& work) {
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
  work(0);
  for (std::thread& thread : others) thread.join();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// The files of a set, mapped, with the place of each sample in them.
struct Stored {
  struct Piece {
    const std::byte* data;
    std::size_t stored, plain;
  };
  std::vector<std::unique_ptr<io::MappedFile>> files;
  std::vector<Piece> pieces;
  io::PreparedLayout layout;
  std::int64_t samples = 0;
  std::size_t largest = 0;
  double bytes = 0;  // uncompressed

  explicit Stored(const std::string& folder) {
    const std::string path = folder + "/" + io::kIndexName;
    const io::PreparedIndex index = io::PreparedIndex::from_json(io::read_text_file(path), path);
    layout = index.head.layout;
    samples = index.samples();
    for (std::int64_t shard = 0; shard < index.head.num_shards(); ++shard) {
      const std::string record_path = folder + "/" + io::shard_file_name("shard", shard, ".json");
      const io::ShardRecord record =
          io::ShardRecord::from_json(io::read_text_file(record_path), record_path, layout);
      add(folder, record.x, layout.num_channels(), std::ssize(record.samples));
      add(folder, record.target, layout.num_targets(), std::ssize(record.samples));
    }
  }

 private:
  void add(const std::string& folder, const io::ShardFile& file, std::int64_t planes,
           std::int64_t count) {
    if (file.name.empty()) return;
    files.push_back(std::make_unique<io::MappedFile>(folder + "/" + file.name, file.bytes));
    const std::byte* at =
        files.back()->data() + (layout.is_compressed() ? io::kNpyFrameBytes : io::kNpyHeaderBytes);
    const auto plain = static_cast<std::size_t>(planes * layout.plane_bytes());
    for (std::int64_t i = 0; i < count; ++i) {
      const std::size_t stored =
          layout.is_compressed()
              ? static_cast<std::size_t>(file.frames[static_cast<std::size_t>(i)])
              : plain;
      pieces.push_back({at, stored, plain});
      at += stored;
      bytes += static_cast<double>(plain);
      largest = std::max(largest, plain);
    }
  }
};

/// What no reader can be faster than: the same bytes, copied or decompressed into memory as large
/// as the batches in flight.
class Limit {
 public:
  Limit(const Stored& stored, std::int64_t batch)
      : stored_(stored), slots_(static_cast<std::size_t>(batch * kBatchesInFlight)) {
    for (std::vector<std::byte>& slot : slots_) slot.resize(stored.largest);
    if (stored.layout.is_compressed()) return;
    // Not the page cache: memory of this process, as memcpy is usually measured.
    for (const Stored::Piece& piece : stored.pieces) {
      source_.insert(source_.end(), piece.data, piece.data + piece.plain);
    }
  }

  double run(int threads) {
    return seconds_of([&] {
      on_threads(threads, [&](int thread) {
        const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(),
                                                                           &ZSTD_freeDCtx);
        std::size_t offset = 0;
        for (std::size_t i = 0; i < stored_.pieces.size(); ++i) {
          const Stored::Piece& piece = stored_.pieces[i];
          const std::size_t begin = offset;
          offset += piece.plain;
          if (static_cast<int>(i % static_cast<std::size_t>(threads)) != thread) continue;
          std::byte* slot = slots_[i % slots_.size()].data();
          if (source_.empty()) {
            ZSTD_decompressDCtx(context.get(), slot, piece.plain, piece.data, piece.stored);
          } else {
            std::memcpy(slot, source_.data() + begin, piece.plain);
          }
        }
      });
    });
  }

 private:
  const Stored& stored_;
  std::vector<std::vector<std::byte>> slots_;
  std::vector<std::byte> source_;
};

/// read.prepared -> batch -> sink, one epoch a run.
class Reading {
 public:
  Reading(const std::string& folder, std::int64_t batch, int threads) {
    register_builtin_stages(registry_);
    const std::string path =
        (std::filesystem::temp_directory_path() / fmt::format("bench_prepared_{}.yaml", ::getpid()))
            .string();
    std::ofstream(path) << fmt::format(
        "ingest: {{threads: {}}}\nnodes:\n  ready: {{type: read.prepared, path: {}}}\n"
        "  batches: {{type: batch, from: ready, size: {}}}\n  end: {{type: sink, from: batches}}\n",
        threads, folder, batch);
    graph_ = load_graph(path, {}, registry_);
    std::filesystem::remove(path);
    plan_ = std::make_unique<Plan>(graph_, registry_, PlanOptions{});
    threads_ = std::make_unique<Threads>(1, threads);
    ingest_ = std::make_unique<Ingest>(*plan_, *threads_);
  }

  double run() {
    Engine engine(*plan_, *threads_, *ingest_, {});
    return engine.run().seconds;
  }

 private:
  Registry registry_;
  GraphDefinition graph_;
  std::unique_ptr<Plan> plan_;
  std::unique_ptr<Threads> threads_;
  std::unique_ptr<Ingest> ingest_;
};

struct Speeds {
  double reading = 0, limit = 0, first = 0;  // GB/s
};

// Turns of reading and limit, so that a drift of the machine meets both.
Speeds measure(const std::string& folder, const Stored& stored, std::int64_t batch, int threads,
               int repeats) {
  Limit limit(stored, batch);
  Reading reading(folder, batch, threads);
  limit.run(threads);
  const double gigabytes = stored.bytes / 1e9;
  Speeds speeds;
  speeds.first = gigabytes / reading.run();
  std::vector<double> of_reading, of_limit;
  for (int i = 0; i < repeats; ++i) {
    of_reading.push_back(gigabytes / reading.run());
    of_limit.push_back(gigabytes / limit.run(threads));
  }
  speeds.reading = median(of_reading);
  speeds.limit = median(of_limit);
  return speeds;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> folders;
  std::vector<int> threads{1, 2};
  int repeats = 7;
  std::int64_t batch = 16;
  CLI::App app("Measure read.prepared against copying memory and against zstd");
  app.add_option("FOLDER", folders, "Splits of prepared samples")->required();
  app.add_option("--threads", threads, "Numbers of I/O threads")->delimiter(',');
  app.add_option("--repeats", repeats, "Epochs of which the median counts");
  app.add_option("--batch", batch, "Samples of a batch");
  CLI11_PARSE(app, argc, argv);

  try {
    fmt::print("{:<34} {:>8} {:>9} {:>9} {:>9} {:>7} {:>11}\n", "samples", "threads", "GB/s",
               "limit", "fraction", "1 -> n", "first epoch");
    for (const std::string& folder : folders) {
      const Stored stored(folder);
      double alone = 0;
      for (const int count : threads) {
        const Speeds speeds = measure(folder, stored, batch, count, repeats);
        if (alone == 0) alone = speeds.reading;
        fmt::print("{:<34} {:>8} {:>9.2f} {:>9.2f} {:>9.3f} {:>7.2f} {:>11.2f}\n",
                   fmt::format("{} x {} x {} x {} {}", stored.samples, stored.layout.num_planes(),
                               stored.layout.extent.height, stored.layout.extent.width,
                               stored.layout.is_compressed() ? "zstd" : "plain"),
                   count, speeds.reading, speeds.limit, speeds.reading / speeds.limit,
                   speeds.reading / alone, speeds.first);
      }
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
  return 0;
}
