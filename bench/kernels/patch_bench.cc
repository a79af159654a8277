// Cutting images into patches.
#include <cstdint>

#include <benchmark/benchmark.h>

#include "bench/kernels/rates.h"
#include "ops/kernels/patchify.h"

namespace trib::bench {
namespace {

using namespace ops;

// Arguments: batch, channels, edge of the image, patch.
struct PatchCase {
  std::int64_t batch, channels, edge, patch;
  Floats image, patches;

  explicit PatchCase(const benchmark::State& state)
      : batch(state.range(0)),
        channels(state.range(1)),
        edge(state.range(2)),
        patch(state.range(3)),
        image(values(batch * channels * edge * edge)),
        patches(image.size()) {}
};

void bm_patchify_channels(benchmark::State& state) {
  PatchCase c(state);
  for (auto _ : state) {
    patchify_channels(c.patches.data(), c.image.data(), nullptr, 0, c.batch, c.channels, c.edge,
                      c.edge, c.patch);
    benchmark::ClobberMemory();
  }
  report_bytes(state, static_cast<std::int64_t>(2 * c.image.size()));
}

void bm_patchify(benchmark::State& state) {
  PatchCase c(state);
  for (auto _ : state) {
    patchify(c.patches.data(), c.image.data(), c.batch, c.channels, c.edge, c.edge, c.patch);
    benchmark::ClobberMemory();
  }
  report_bytes(state, static_cast<std::int64_t>(2 * c.image.size()));
}

void patch_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"batch", "channels", "edge", "patch"});
  bench->Args({16, 218, 32, 4})->Args({8, 48, 128, 8})->Args({16, 12, 128, 16});
}

TRIB_BENCH(bm_patchify_channels)->Apply(patch_shapes);
TRIB_BENCH(bm_patchify)->Apply(patch_shapes);

}  // namespace
}  // namespace trib::bench
