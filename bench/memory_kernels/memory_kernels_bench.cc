// Speed of the kernels that move memory, for float32 and bfloat16, in the cache and out of it,
// beside what the memory gives in the same run.
//
//   build/release/bench/bench_memory_kernels [part of a kernel's name]
//
// Each operand counts once. Beside kernels that only read: a sum of 256 MB; beside all others: a
// copy of 128 MB whose stores go past the caches, the fastest way to move memory there is. Both in
// huge pages. Out of the cache, 1 is the limit but for results that overwrite operands, whose lines
// are read anyway. Medians.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "ops/base/function_ref.h"
#include "ops/base/parallel.h"
#include "ops/base/tensor.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/adamw.h"
#include "ops/kernels/layer_norm.h"
#include "ops/kernels/loss.h"
#include "ops/kernels/patchify.h"

namespace trib::ops {
namespace {

double median_seconds(FunctionRef<void()> call) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [&](int calls) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    return std::chrono::duration<double>(Clock::now() - start).count() / calls;
  };
  seconds(1);
  const int calls = std::max(1, static_cast<int>(0.5e-3 / seconds(1)));
  std::vector<double> all;
  for (double total = 0; total < 0.1 || all.size() < 5; total += all.back() * calls) {
    all.push_back(seconds(calls));
  }
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2),
                   all.end());
  return all[all.size() / 2];
}

template <class T>
Tensor numbers(std::int64_t count) {
  Tensor tensor = Tensor::empty({count}, DTypeOf<T>::value);
  T* const data = tensor.template data<T>();
  for (std::int64_t i = 0; i < count; ++i) {
    data[i] = T(static_cast<float>(i * 7919 % 1001) / 500 - 1);
  }
  return tensor;
}

class Report {
 public:
  explicit Report(std::string filter) : filter_(std::move(filter)) {
    constexpr std::int64_t kCount = std::int64_t{32} << 20;
    Tensor from = numbers<float>(kCount), to = numbers<float>(kCount);
    const float* const x = from.data<float>();
    copy_ = 8e-9 * kCount / median_seconds([&] { convert(to.data<float>(), x, kCount); });
    read_ = 4e-9 * kCount / median_seconds([&] { sum_ += sum_of_squares(x, kCount); });
    fmt::print("copy {:.1f} GB/s, read {:.1f} GB/s, {} threads\n", copy_, read_, parallel_width());
  }

  /// bytes: of one element, all operands.
  void line(std::string_view kernel, std::string_view type, std::int64_t count, double bytes,
            FunctionRef<void()> call, bool only_reads = false) const {
    if (kernel.find(filter_) == std::string_view::npos) return;
    const double seconds = median_seconds(call);
    const double rate = 1e-9 * bytes * static_cast<double>(count) / seconds;
    fmt::print("{:28} {:5} {:10} {:10.1f} us {:7.1f} GB/s {:6.2f} of {}\n", kernel, type, count,
               1e6 * seconds, rate, rate / (only_reads ? read_ : copy_),
               only_reads ? "read" : "copy");
  }

  void keep(double sum) { sum_ += sum; }

 private:
  std::string filter_;
  double copy_ = 0, read_ = 0;
  double sum_ = 0;  // keeps what only reads from being left out
};

template <class T>
void rows_of(Report& report, std::string_view type, std::int64_t rows, std::int64_t dim) {
  const std::int64_t count = rows * dim;
  constexpr double kSize = sizeof(T);
  Tensor y_t = numbers<T>(count), x_hat_t = numbers<T>(count), dy_t = numbers<T>(count);
  Tensor x_t = numbers<float>(count), w_t = numbers<float>(dim), b_t = numbers<float>(dim);
  Tensor r_t = numbers<float>(rows);
  T *const y = y_t.data<T>(), *const x_hat = x_hat_t.data<T>(), *const dy = dy_t.data<T>();
  float *const x = x_t.data<float>(), *const w = w_t.data<float>(), *const b = b_t.data<float>();
  float* const r = r_t.data<float>();
  report.line("layer_norm_forward", type, count, 8 + 3 * kSize,
              [&] { layer_norm_forward(y, x_hat, r, x, dy, w, b, rows, dim, 1e-5F); });
  report.line("layer_norm_affine", type, count, 2 * kSize,
              [&] { layer_norm_affine(y, x_hat, w, b, rows, dim); });
  report.line("layer_norm_backward", type, count, 8 + 2 * kSize, [&] {
    layer_norm_backward(x, w, b, ConstFloatPtr(dy), ConstFloatPtr(x_hat), w, r, rows, dim, true);
  });
  report.line("gelu_forward", type, count, 2 * kSize, [&] { gelu_forward(y, x_hat, count); });
  report.line("gelu_backward", type, count, 4 * kSize,
              [&] { gelu_backward(dy, y, dy, x_hat, count); });
  report.line("add", type, count, 8 + kSize, [&] { add(x, dy, count); });
  report.line("convert from float32", type, count, 4 + kSize, [&] { convert(y, x, count); });
  report.line("convert to float32", type, count, 4 + kSize, [&] { convert(x, y, count); });
  report.line("add_to_rows", type, count, 2 * kSize, [&] { add_to_rows(y, w, rows, dim); });
  report.line(
      "add_row_sum", type, count, kSize, [&] { add_row_sum(b, y, rows, dim); }, true);
}

void floats(Report& report, std::int64_t rows, std::int64_t dim) {
  const std::int64_t count = rows * dim;
  Tensor a_t = numbers<float>(count), b_t = numbers<float>(count), c_t = numbers<float>(count);
  Tensor g_t = numbers<float>(count), low_t = numbers<BFloat16>(count), r_t = numbers<float>(rows);
  float *const a = a_t.data<float>(), *const b = b_t.data<float>(), *const c = c_t.data<float>();
  const float* const g = g_t.data<float>();
  float* const r = r_t.data<float>();
  std::fill_n(c, count, 0.01F);
  const AdamWFactors factors{.beta1 = 0.9F,
                             .beta2 = 0.95F,
                             .eps = 1e-8F,
                             .gradient_scale = 1,
                             .rate = 1e-3F,
                             .root_correction2 = 0.5F};
  AdamWPiece piece{
      .value = a, .exp_avg = b, .exp_avg_sq = c, .gradient = g, .count = count, .keep = 0.99F};
  report.line("adamw_update", "f32", count, 28, [&] { adamw_update({&piece, 1}, factors); });
  piece.bf16 = low_t.data<BFloat16>();
  report.line("adamw_update", "+bf16", count, 30, [&] { adamw_update({&piece, 1}, factors); });
  report.line(
      "mse_forward", "f32", count, 8, [&] { report.keep(mse_forward(a, g, count)); }, true);
  report.line("mse_backward", "f32", count, 12, [&] { mse_backward(b, a, g, count, 1); });
  report.line(
      "weighted_mse_forward", "f32", count, 8,
      [&] { report.keep(weighted_mse_forward(a, g, r, 1, rows, dim)); }, true);
  report.line("weighted_mse_backward", "f32", count, 16,
              [&] { weighted_mse_backward(b, a, g, r, 1, rows, dim, 1); });
  for (std::int64_t i = 0; i < rows; ++i) r[i] = i % 4 == 0 ? 0.0F : 1.0F;
  report.line(
      "masked_mse_forward", "f32", count, 6,
      [&] { report.keep(masked_mse_forward(a, g, r, rows, dim)); }, true);
  report.line("masked_mse_backward", "f32", count, 10,
              [&] { masked_mse_backward(b, a, g, r, rows, dim, 1); });
}

void patches(Report& report, std::int64_t batch, std::int64_t channels, std::int64_t edge,
             std::int64_t patch) {
  const std::int64_t count = batch * channels * edge * edge;
  Tensor image = numbers<float>(count), cut = numbers<float>(count);
  float *const x = image.data<float>(), *const y = cut.data<float>();
  const std::string shape = fmt::format("{}c/{}", channels, patch);
  report.line("patchify_channels", shape, count, 8,
              [&] { patchify_channels(y, x, nullptr, 0, batch, channels, edge, edge, patch); });
  report.line("patchify", shape, count, 8,
              [&] { patchify(y, x, batch, channels, edge, edge, patch); });
  report.line("unpatchify", shape, count, 8,
              [&] { unpatchify(x, y, batch, channels, edge, edge, patch); });
}

}  // namespace
}  // namespace trib::ops

int main(int argc, char** argv) {
  namespace ops = trib::ops;
  ops::Report report(argc > 1 ? argv[1] : "");
  for (const std::int64_t rows : {std::int64_t{384}, std::int64_t{49152}}) {
    ops::rows_of<float>(report, "f32", rows, 384);
    ops::rows_of<trib::BFloat16>(report, "bf16", 2 * rows, 384);
    ops::floats(report, rows, 384);
  }
  ops::patches(report, 1, 48, 64, 8);
  ops::patches(report, 8, 48, 128, 8);
  ops::patches(report, 16, 218, 32, 4);
  ops::patches(report, 64, 3, 224, 16);
}
