// What bench_step tells of a step, to be read by people or by programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/support/machine.h"
#include "ops/base/kernel_profile.h"

namespace trib::bench {

/// A run of all ranks.
struct StepFigures {
  std::string preset, precision;
  int ranks = 1;
  std::int64_t batch = 0;  ///< of all ranks together
  std::int64_t recompute = 0;
  std::int64_t parameters = 0;
  double flops = 0;                  ///< useful ones of a step, of all ranks
  std::vector<double> seconds = {};  ///< of the steps, each to the end of its slowest rank
  double loss = 0;                   ///< of the last step
  double rss_bytes = 0;              ///< peak, of all ranks together
  double activation_bytes = 0;       ///< peak of the rank that has most
  MachineRates machine = {};         ///< of all ranks' threads together

  double step_seconds() const;  ///< median
  /// The rate of products of matrices of this precision.
  double gemm_peak() const;
};

/// Kernels of `steps` steps which took `seconds` together.
struct StepProfile {
  std::vector<KernelProfileEntry> kernels = {};
  double steps = 0, seconds = 0;
};

nlohmann::ordered_json to_json(const StepFigures& figures);
nlohmann::ordered_json to_json(const StepFigures& figures, const StepProfile& profile);
std::string to_text(const StepFigures& figures);
/// A table in Markdown, the longest first.
std::string to_text(const StepFigures& figures, const StepProfile& profile);

}  // namespace trib::bench
