// Speed of the kernels, each beside what this machine can do: products beside the peak of sgemm,
// kernels that mostly move memory beside a plain parallel copy.
//
//   env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE build/release/bench/bench_kernels [--peak]
//
// With --peak it says what the machine can do and ends.
//
// Counters, all per second: GFLOP (or GB, each operand counted once) and its `ratio` to what the
// machine does with as many threads.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "bench/kernels/rates.h"
#include "ops/base/parallel.h"
#include "ops/kernels/gemm.h"

int main(int argc, char** argv) {
  const bool only_peak = argc == 2 && std::string_view(argv[1]) == "--peak";
  if (only_peak) argc = 1;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const auto& machine = trib::bench::machine();
  fmt::print("{}\n{}\n", trib::ops::blas_description(), trib::ops::gemm_description());
  for (const char* name : {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}) {
    if (const char* value = std::getenv(name)) fmt::print("{}={} (set)\n", name, value);
  }
  fmt::print("sgemm peak: {:.0f} GFLOP/s on 1 thread, {:.0f} on {}\ncopy: {:.1f} GB/s\n",
             machine.serial_gflops, machine.gflops, trib::parallel_width(), machine.copy_gbytes);
  fmt::print("bfloat16 peak: {:.0f} GFLOP/s on {}\n", machine.bf16_gflops, trib::parallel_width());
  std::fflush(stdout);
  if (only_peak) return 0;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
