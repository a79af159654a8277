// Where the time of a step goes: what each kernel took, beside the work it had to do.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace trib {

/// Calls of one kernel with one shape.
struct KernelProfileEntry {
  std::string kernel;  ///< "linear_forward"
  std::array<std::int64_t, 4> shape{};
  std::int64_t calls = 0;
  double seconds = 0;
  double flops = 0;  ///< floating-point operations, 2 a multiply-add
  double bytes = 0;  ///< each operand counted once
};

/// Off unless switched on; then every KernelScope of the process counts.
namespace kernel_profile {
void start();  ///< forgets what was counted before
void stop();
/// In the order of first calls.
std::vector<KernelProfileEntry> entries();
}  // namespace kernel_profile

namespace detail {
inline std::atomic<bool> kernel_profile_on{false};
}

/// Counts the time until its destruction for a kernel, whose name must live that long. A scope
/// within a scope of the same thread does not count, so that the times of a thread add up.
class KernelScope {
 public:
  KernelScope(const char* kernel, std::array<std::int64_t, 4> shape, double flops, double bytes) {
    if (detail::kernel_profile_on.load(std::memory_order_relaxed)) {
      begin(kernel, shape, flops, bytes);
    }
  }
  ~KernelScope() {
    if (is_counting_) end();
  }
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  void begin(const char* kernel, const std::array<std::int64_t, 4>& shape, double flops,
             double bytes);
  void end();

  bool is_counting_ = false;
  const char* kernel_ = nullptr;
  std::array<std::int64_t, 4> shape_{};
  double flops_ = 0, bytes_ = 0, began_ = 0;
};

}  // namespace trib
