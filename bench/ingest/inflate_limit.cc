// How fast can stored chunks be decoded at best? Fetches and decodes chunks listed in a file, each
// thread its own, from the page cache, and nothing else: no cache, no conversion, no batches.
//
//   bench_inflate_limit LIST [THREADS [REPEATS]]
//
// LIST has a line for each chunk: FILE OFFSET STORED_BYTES BYTES STEPS, where STEPS is how it is
// decoded, in this order, joined by commas: deflate or zstd; shuffle:ELEMENT (undo HDF5's shuffle);
// horizontal:SAMPLE_BYTES:SAMPLES:ROW_BYTES (undo TIFF's predictor 2). Chunks are taken in the
// order of the list. Prints the median time and the bytes a second that come out.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "io/chunks/chunk_codec.h"
#include "io/chunks/stored_file.h"
#include "io/raster/tiff_predictor.h"

namespace {

using trib::io::StoredFile;

struct Step {
  std::string kind;
  std::vector<std::int64_t> numbers;
};

struct StoredChunk {
  const StoredFile* file;
  std::uint64_t offset;
  std::size_t stored_bytes, bytes;
  const std::vector<Step>* steps;
};

std::vector<Step> parse(const std::string& text) {
  std::vector<Step> steps;
  std::istringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    std::istringstream parts(item);
    Step step;
    std::getline(parts, step.kind, ':');
    for (std::string number; std::getline(parts, number, ':');) {
      step.numbers.push_back(std::stoll(number));
    }
    steps.push_back(step);
  }
  return steps;
}

/// A thread's work.
class Decoder {
 public:
  void decode(const StoredChunk& chunk) {
    stored_.resize(std::max(stored_.size(), chunk.stored_bytes));
    first_.resize(std::max(first_.size(), chunk.bytes));
    second_.resize(std::max(second_.size(), chunk.bytes));
    const std::span<std::byte> stored(stored_.data(), chunk.stored_bytes);
    chunk.file->read(chunk.offset, stored);
    std::span<std::byte> now(first_.data(), chunk.bytes);
    std::span<std::byte> other(second_.data(), chunk.bytes);
    for (const Step& step : *chunk.steps) {
      if (step.kind == "deflate") {
        trib::io::inflate_zlib(stored, now);
      } else if (step.kind == "zstd") {
        trib::io::expand_zstd(stored, now);
      } else if (step.kind == "shuffle") {
        trib::io::unshuffle(static_cast<std::size_t>(step.numbers.at(0)), now, other);
        std::swap(now, other);
      } else if (step.kind == "horizontal") {
        trib::io::undo_horizontal(now, step.numbers.at(2), step.numbers.at(1),
                                  static_cast<std::size_t>(step.numbers.at(0)));
      } else {
        throw std::runtime_error("unknown step " + step.kind);
      }
    }
  }

 private:
  std::vector<std::byte> stored_, first_, second_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    fmt::print(stderr, "usage: bench_inflate_limit LIST [THREADS [REPEATS]]\n");
    return 2;
  }
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1;
  const int repeats = argc > 3 ? std::atoi(argv[3]) : 3;
  std::map<std::string, std::unique_ptr<StoredFile>> files;
  std::map<std::string, std::vector<Step>> codings;
  std::vector<StoredChunk> chunks;
  std::ifstream list(argv[1]);
  std::string file, steps;
  StoredChunk chunk{};
  std::size_t bytes = 0;
  while (list >> file >> chunk.offset >> chunk.stored_bytes >> chunk.bytes >> steps) {
    auto& open = files[file];
    if (!open) open = std::make_unique<StoredFile>(file);
    const auto coding = codings.find(steps);
    chunk.steps = coding != codings.end() ? &coding->second : &(codings[steps] = parse(steps));
    chunk.file = open.get();
    chunks.push_back(chunk);
    bytes += chunk.bytes;
  }
  if (chunks.empty() || threads < 1 || repeats < 1) throw std::runtime_error("nothing to do");

  std::vector<double> seconds;
  for (int r = 0; r < repeats; ++r) {
    std::atomic<std::size_t> next = 0;
    std::vector<std::thread> workers;
    const auto start = std::chrono::steady_clock::now();
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([&] {
        Decoder decoder;
        for (std::size_t i = next++; i < chunks.size(); i = next++) decoder.decode(chunks[i]);
      });
    }
    for (std::thread& worker : workers) worker.join();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  fmt::print(
      "{{\"chunks\": {}, \"bytes\": {}, \"threads\": {}, \"seconds\": {:.6f}, "
      "\"bytes_per_second\": {:.0f}}}\n",
      chunks.size(), bytes, threads, median, static_cast<double>(bytes) / median);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "error: {}\n", error.what());
  return 1;
}
