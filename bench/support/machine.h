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

  /// The larger of each rate.
  void take_best(const MachineRates& other);
};

/// Best of some repetitions, a fraction of a second; copy_gbytes is left out.
MachineRates measure_products(bool with_bf16 = false);
/// Copies in half a gigabyte of memory of its own.
double measure_copy();
/// All but bf16_gflops.
MachineRates measure_machine();

}  // namespace trib
