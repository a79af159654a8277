#include "bench/kernels/rates.h"

#include "ops/base/random.h"

namespace trib::bench {

Floats values(std::int64_t count) {
  const RandomStream stream(1, "bench");
  Floats result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = stream.uniform(i) - 0.5F;
  return result;
}

const MachineRates& machine() {
  static const MachineRates measured = [] {
    MachineRates rates = measure_machine();
    rates.take_best(measure_products(/*with_bf16=*/true));
    return rates;
  }();
  return measured;
}

using Rate = benchmark::Counter;

void report_rate(benchmark::State& state, double flops_a_call, double gflops_of_machine) {
  const double total = 1e-9 * flops_a_call * static_cast<double>(state.iterations());
  state.counters["GFLOP"] = Rate(total, Rate::kIsRate);
  state.counters["ratio"] = Rate(total / gflops_of_machine, Rate::kIsRate);
}

void report_bytes(benchmark::State& state, std::int64_t floats_a_call) {
  const double total =
      1e-9 * sizeof(float) * static_cast<double>(floats_a_call * state.iterations());
  state.counters["GB"] = Rate(total, Rate::kIsRate);
  state.counters["ratio"] = Rate(total / machine().copy_gbytes, Rate::kIsRate);
}

}  // namespace trib::bench
