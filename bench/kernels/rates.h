// What benches of kernels share: operands, and rates beside what the machine can do.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/support/machine.h"

// Wall time: the work is done by other threads than the one that calls.
#define TRIB_BENCH(function) BENCHMARK(function)->UseRealTime()->Unit(benchmark::kMicrosecond)

namespace trib::bench {

using Floats = std::vector<float>;

/// So many numbers from -0.5 to 0.5, always the same.
Floats values(std::int64_t count);

template <class Float>
std::vector<Float> values_as(std::int64_t count) {
  const Floats numbers = values(count);
  return {numbers.begin(), numbers.end()};
}

/// Measured at the first call.
const MachineRates& machine();

/// GFLOP/s, and their `ratio` to a rate of the machine.
void report_rate(benchmark::State& state, double flops_a_call, double gflops_of_machine);

/// Beside products of this type.
template <class Float>
void report_flops(benchmark::State& state, double flops_a_call) {
  report_rate(state, flops_a_call,
              std::is_same_v<Float, float> ? machine().gflops : machine().bf16_gflops);
}

/// GB/s, each operand counted once, and their `ratio` to a copy.
void report_bytes(benchmark::State& state, std::int64_t floats_a_call);

}  // namespace trib::bench
