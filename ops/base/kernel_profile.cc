#include "ops/base/kernel_profile.h"

#include <algorithm>
#include <chrono>
#include <mutex>

namespace trib {
namespace {

std::mutex mutex;
std::vector<KernelProfileEntry> counted;
thread_local bool is_within_scope = false;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

namespace kernel_profile {

void start() {
  const std::lock_guard lock(mutex);
  counted.clear();
  detail::kernel_profile_on = true;
}

void stop() {
  detail::kernel_profile_on = false;
}

std::vector<KernelProfileEntry> entries() {
  const std::lock_guard lock(mutex);
  return counted;
}

}  // namespace kernel_profile

void KernelScope::begin(const char* kernel, const std::array<std::int64_t, 4>& shape, double flops,
                        double bytes) {
  if (is_within_scope) return;
  is_within_scope = is_counting_ = true;
  kernel_ = kernel;
  shape_ = shape;
  flops_ = flops;
  bytes_ = bytes;
  began_ = now();
}

void KernelScope::end() {
  const double seconds = now() - began_;
  is_within_scope = false;
  const std::lock_guard lock(mutex);
  auto entry = std::find_if(counted.begin(), counted.end(), [&](const KernelProfileEntry& e) {
    return e.shape == shape_ && e.kernel == kernel_;
  });
  if (entry == counted.end()) {
    entry = counted.insert(entry, {.kernel = kernel_, .shape = shape_});
  }
  ++entry->calls;
  entry->seconds += seconds;
  entry->flops += flops_;
  entry->bytes += bytes_;
}

}  // namespace trib
