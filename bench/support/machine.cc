#include "bench/support/machine.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "ops/base/bfloat16.h"
#include "ops/base/parallel.h"
#include "ops/kernels/gemm.h"

namespace trib {
namespace {

constexpr std::int64_t kEdge = 1024, kFlops = 2 * kEdge * kEdge * kEdge;

template <class Function>
double best_seconds(int repetitions, const Function& function) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = Clock::now();
    function();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

// Products with a result of their own for each thread: no cut, no sharing.
template <class Element>
struct Products {
  explicit Products(int threads) : c(static_cast<std::size_t>(threads * kEdge * kEdge)) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] = Element(static_cast<float>(i % 251) / 251.0F - 0.5F);
    }
  }

  void run(std::int64_t count) {
    parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        ops::gemm_serial(ops::Transpose::no, ops::Transpose::no, kEdge, kEdge, kEdge, 1.0F,
                         a.data(), kEdge, a.data(), kEdge, 0.0F, c.data() + i * kEdge * kEdge,
                         kEdge);
      }
    });
  }

  double gflops(std::int64_t count) {
    constexpr int kRepetitions = 20;
    return 1e-9 * static_cast<double>(kFlops * count) /
           best_seconds(kRepetitions, [&] { run(count); });
  }

  std::vector<Element> a = std::vector<Element>(kEdge * kEdge), c;
};

}  // namespace

void MachineRates::take_best(const MachineRates& other) {
  serial_gflops = std::max(serial_gflops, other.serial_gflops);
  gflops = std::max(gflops, other.gflops);
  copy_gbytes = std::max(copy_gbytes, other.copy_gbytes);
  bf16_gflops = std::max(bf16_gflops, other.bf16_gflops);
}

MachineRates measure_products(bool with_bf16) {
  MachineRates rates{.threads = parallel_width()};
  {
    Products<float> products(rates.threads);
    rates.serial_gflops = products.gflops(1);
    rates.gflops = products.gflops(rates.threads);
  }
  if (with_bf16) rates.bf16_gflops = Products<BFloat16>(rates.threads).gflops(rates.threads);
  return rates;
}

double measure_copy() {
  constexpr std::int64_t kCopied = std::int64_t{64} << 20;  // far beyond the caches
  const std::vector<float> from(kCopied, 1.0F);
  std::vector<float> to(kCopied);
  return 1e-9 * 2 * sizeof(float) * kCopied / best_seconds(10, [&] {
           parallel_for(kCopied, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
             std::copy(from.data() + begin, from.data() + end, to.data() + begin);
           });
         });
}

MachineRates measure_machine() {
  MachineRates rates = measure_products();
  rates.copy_gbytes = measure_copy();
  return rates;
}

}  // namespace trib
