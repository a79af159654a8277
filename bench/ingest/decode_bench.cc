// What the steps of reading cost, against memcpy: undoing the shuffle of stored chunks, inflating
// them, and unpacking numbers to physical values.
//
//   env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE build/release/bench/bench_ingest
//
// bytes_per_second counts the bytes read.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <libdeflate.h>

#include "io/chunks/chunk_codec.h"
#include "io/unpack.h"

namespace {

using namespace trib;
using namespace trib::io;

// Chunks of the usual size: they fit the second cache.
constexpr std::int64_t kPixels = 32 * 32, kChannels = 64;

std::vector<std::byte> noise(std::size_t bytes, int bits) {
  std::minstd_rand random(1);
  std::vector<std::byte> out(bytes);
  for (std::byte& b : out) b = static_cast<std::byte>(random() >> 8 & ((1U << bits) - 1));
  return out;
}

void memory_copy(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const std::vector<std::byte> in = noise(bytes, 8);
  std::vector<std::byte> out(bytes);
  for (auto _ : state) {
    std::memcpy(out.data(), in.data(), bytes);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(memory_copy)->Arg(kPixels* kChannels * 4)->Arg(64 << 20);

void undo_shuffle(benchmark::State& state) {
  const auto element = static_cast<std::size_t>(state.range(0));
  const std::vector<std::byte> in = noise(kPixels * kChannels * 4, 8);
  std::vector<std::byte> out(in.size());
  for (auto _ : state) {
    unshuffle(element, in, out);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(in.size()));
}
BENCHMARK(undo_shuffle)->Arg(2)->Arg(4)->Arg(8);

void inflate(benchmark::State& state) {
  const std::vector<std::byte> raw = noise(kPixels * kChannels * 4, 5);
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(4);
  std::vector<std::byte> stored(libdeflate_zlib_compress_bound(compressor, raw.size()));
  stored.resize(
      libdeflate_zlib_compress(compressor, raw.data(), raw.size(), stored.data(), stored.size()));
  libdeflate_free_compressor(compressor);
  std::vector<std::byte> out(raw.size());
  for (auto _ : state) {
    inflate_zlib(stored, out);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(raw.size()));
}
BENCHMARK(inflate);

enum Layout : std::int64_t { channels_first, channels_last };

// A chunk of numbers of type T to floats, with a missing number and values scaled per channel.
template <class T>
void unpack_chunk(benchmark::State& state) {
  const bool last = state.range(0) == channels_last;
  const bool is_packed = state.range(1) != 0;
  const std::vector<std::byte> in = noise(kPixels * kChannels * sizeof(T), 7);
  std::vector<float> out(kPixels * kChannels);
  const RawBlock block{in.data(),
                       DTypeOf<T>::value,
                       {kChannels, 32, 32},
                       last ? std::array<std::int64_t, 3>{1, 32 * kChannels, kChannels}
                            : std::array<std::int64_t, 3>{kPixels, 32, 1}};
  const Packing packing = is_packed ? Packing{0.25, 3, {7}} : Packing{};
  const std::vector<Affine> affine(is_packed ? kChannels : 0, Affine{2, 1});
  for (auto _ : state) {
    unpack(block, packing, affine, {out.data(), kPixels, 32});
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(in.size()));
}
#define LAYOUTS ArgNames({"last", "packed"})->ArgsProduct({{channels_first, channels_last}, {0, 1}})
BENCHMARK(unpack_chunk<std::uint8_t>)->LAYOUTS;
BENCHMARK(unpack_chunk<std::int16_t>)->LAYOUTS;
BENCHMARK(unpack_chunk<std::int32_t>)->LAYOUTS;
BENCHMARK(unpack_chunk<float>)->LAYOUTS;
BENCHMARK(unpack_chunk<double>)->LAYOUTS;

}  // namespace

BENCHMARK_MAIN();
