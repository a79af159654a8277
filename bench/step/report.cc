#include "bench/step/report.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bench/support/ranks.h"

namespace trib::bench {
namespace {

// Extents that are not given are 0, at the end.
std::vector<std::int64_t> given(const std::array<std::int64_t, 4>& shape) {
  auto end = shape.end();
  while (end != shape.begin() && *(end - 1) == 0) --end;
  return {shape.begin(), end};
}

// Of one step.
struct Line {
  std::string kernel;
  std::vector<std::int64_t> shape;
  double calls, milliseconds, share, gflops, gbytes;
};

std::vector<Line> lines_of(const StepProfile& profile) {
  std::vector<Line> lines;
  double counted = 0;
  for (const KernelProfileEntry& entry : profile.kernels) {
    counted += entry.seconds;
    lines.push_back({entry.kernel, given(entry.shape),
                     static_cast<double>(entry.calls) / profile.steps,
                     1e3 * entry.seconds / profile.steps, entry.seconds / profile.seconds,
                     1e-9 * entry.flops / entry.seconds, 1e-9 * entry.bytes / entry.seconds});
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Line& a, const Line& b) { return a.milliseconds > b.milliseconds; });
  const double rest = profile.seconds - counted;
  lines.push_back(
      {"outside kernels", {}, 0, 1e3 * rest / profile.steps, rest / profile.seconds, 0, 0});
  return lines;
}

}  // namespace

double StepFigures::step_seconds() const {
  return median(seconds);
}

double StepFigures::gemm_peak() const {
  return machine.bf16_gflops > 0 ? machine.bf16_gflops : machine.gflops;
}

nlohmann::ordered_json to_json(const StepFigures& figures) {
  const double step = figures.step_seconds(), gflops = 1e-9 * figures.flops / step;
  return {
      {"preset", figures.preset},
      {"precision", figures.precision},
      {"ranks", figures.ranks},
      {"threads", figures.machine.threads},
      {"batch", figures.batch},
      {"recompute", figures.recompute},
      {"parameters", figures.parameters},
      {"gflop", 1e-9 * figures.flops},
      {"step_seconds", step},
      {"fastest_step_seconds", *std::min_element(figures.seconds.begin(), figures.seconds.end())},
      {"samples_per_second", static_cast<double>(figures.batch) / step},
      {"gflops", gflops},
      {"gemm_peak_gflops", figures.gemm_peak()},
      {"peak_fraction", gflops / figures.gemm_peak()},
      {"sgemm_serial_gflops", figures.machine.serial_gflops},
      {"sgemm_gflops", figures.machine.gflops},
      {"copy_gbytes", figures.machine.copy_gbytes},
      {"rss_bytes", figures.rss_bytes},
      {"activation_bytes", figures.activation_bytes},
      {"loss", figures.loss}};
}

nlohmann::ordered_json to_json(const StepFigures& figures, const StepProfile& profile) {
  auto kernels = nlohmann::ordered_json::array();
  for (const Line& line : lines_of(profile)) {
    kernels.push_back({{"kernel", line.kernel},
                       {"shape", line.shape},
                       {"calls", line.calls},
                       {"milliseconds", line.milliseconds},
                       {"share", line.share},
                       {"gflops", line.gflops},
                       {"peak_fraction", line.gflops / figures.gemm_peak()},
                       {"gbytes", line.gbytes},
                       {"copy_fraction", line.gbytes / figures.machine.copy_gbytes}});
  }
  return kernels;
}

std::string to_text(const StepFigures& figures) {
  const double step = figures.step_seconds(), gflops = 1e-9 * figures.flops / step;
  return fmt::format(
      "{} {}: batch of {}, {} rank(s), {} thread(s) in all\n"
      "step {:.2f} ms, {:.1f} samples/s, {:.2f} GFLOP a step, {:.1f} GFLOP/s: {:.3f} of the gemm "
      "peak\n"
      "peak {:.0f} GFLOP/s ({:.0f} sgemm on one thread), copy {:.1f} GB/s\n"
      "resident {:.0f} MB, activations {:.0f} MB\n",
      figures.preset, figures.precision, figures.batch, figures.ranks, figures.machine.threads,
      1e3 * step, static_cast<double>(figures.batch) / step, 1e-9 * figures.flops, gflops,
      gflops / figures.gemm_peak(), figures.gemm_peak(), figures.machine.serial_gflops,
      figures.machine.copy_gbytes, 1e-6 * figures.rss_bytes, 1e-6 * figures.activation_bytes);
}

std::string to_text(const StepFigures& figures, const StepProfile& profile) {
  std::string text =
      "| kernel | shape | calls | ms | share | GFLOP/s | of peak | GB/s | of copy |\n"
      "|---|---|---:|---:|---:|---:|---:|---:|---:|\n";
  const auto rate = [](double value, double of) {
    return value > 0 ? fmt::format("{:.0f} | {:.2f}", value, value / of) : std::string(" | ");
  };
  for (const Line& line : lines_of(profile)) {
    fmt::format_to(std::back_inserter(text), "| {} | {} | {} | {:.3f} | {:.1f} % | {} | {} |\n",
                   line.kernel, fmt::join(line.shape, " x "),
                   line.calls > 0 ? fmt::format("{:g}", line.calls) : "", line.milliseconds,
                   1e2 * line.share, rate(line.gflops, figures.gemm_peak()),
                   rate(line.gbytes, figures.machine.copy_gbytes));
  }
  return text;
}

}  // namespace trib::bench
