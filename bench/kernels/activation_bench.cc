// GELU.
#include <cstdint>

#include <benchmark/benchmark.h>

#include "bench/kernels/rates.h"
#include "ops/kernels/activation.h"

namespace trib::bench {
namespace {

using namespace ops;

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

TRIB_BENCH(bm_gelu_forward)->Arg(1 << 17)->Arg(1 << 21)->Arg(1 << 25);
TRIB_BENCH(bm_gelu_backward)->Arg(1 << 17)->Arg(1 << 21)->Arg(1 << 25);

}  // namespace
}  // namespace trib::bench
