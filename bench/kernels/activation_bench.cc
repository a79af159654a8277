// GELU and softmax.
#include <cstdint>

#include <benchmark/benchmark.h>

#include "bench/kernels/rates.h"
#include "ops/kernels/activation.h"

namespace trib::bench {
namespace {

using namespace ops;

void row_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "dim"});
  bench->Args({1024, 128})->Args({4096, 384})->Args({65536, 128})->Args({32768, 768});
}

void bm_gelu_forward(benchmark::State& state) {
  const Floats x = values(state.range(0));
  Floats y(x.size());
  for (auto _ : state) {
    gelu_forward(y.data(), x.data(), state.range(0));
    benchmark::ClobberMemory();
  }
  report_bytes(state, 2 * state.range(0));
}

void bm_gelu_backward(benchmark::State& state) {
  const Floats x = values(state.range(0)), dy = x;
  Floats dx(x.size());
  for (auto _ : state) {
    gelu_backward(dx.data(), nullptr, dy.data(), x.data(), state.range(0));
    benchmark::ClobberMemory();
  }
  report_bytes(state, 3 * state.range(0));
}

void bm_softmax_forward(benchmark::State& state) {
  const std::int64_t rows = state.range(0), dim = state.range(1);
  const Floats x = values(rows * dim);
  Floats y(x.size());
  for (auto _ : state) {
    softmax_forward(y.data(), x.data(), rows, dim);
    benchmark::ClobberMemory();
  }
  report_bytes(state, 2 * rows * dim);
}

TRIB_BENCH(bm_softmax_forward)->Apply(row_shapes);
TRIB_BENCH(bm_gelu_forward)->Arg(1 << 17)->Arg(1 << 21)->Arg(1 << 25);
TRIB_BENCH(bm_gelu_backward)->Arg(1 << 17)->Arg(1 << 21)->Arg(1 << 25);

}  // namespace
}  // namespace trib::bench
