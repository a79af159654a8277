// What this machine can do, measured: what benches compare kernels and steps with.
#pragma once

#include <cstdint>

namespace trib {

/// Rates of the calling thread's task arena.
struct MachineRates {
  int threads = 1;
  double serial_gflops = 0;  ///< sgemm of 1024 x 1024 x 1024 on one thread
  double gflops = 0;         ///< one such product a thread, all at once
  double copy_gbytes = 0;    ///< a copy of 256 MB: bytes read and bytes written
  double bf16_gflops = 0;    ///< as gflops, of bfloat16 matrices; 0: not measured
};

/// The best of some repetitions; takes about a second, and `with_bf16` as much again.
MachineRates measure_machine(bool with_bf16 = false);

}  // namespace trib
