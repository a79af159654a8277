#include "io/hdf5_lock.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "io/opening_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// Longer than any call into the libraries should take.
constexpr double kPatienceSeconds = 15;

[[noreturn]] void throw_lost() {
  const std::vector<Opening> openings = slow_openings(0);
  throw DataError(
      fmt::format("HDF5 and NetCDF let in one thread at a time, and one that hangs is in "
                  "there{}",
                  openings.empty() ? "" : ", opening " + openings.front().path));
}

}  // namespace

void Hdf5Lock::wait() {
  const Seconds pause(std::min(patience_seconds_ / 4, 0.1));
  std::uint64_t holder = times_taken_;
  Clock::time_point since = Clock::now();
  do {
    if (holder != times_taken_) {
      holder = times_taken_;
      since = Clock::now();
    }
    if (given_up_ == 0) continue;
    if (Seconds(Clock::now() - since).count() >= patience_seconds_) lost_ = holder;
    if (lost_ == holder) throw_lost();
  } while (!mutex_.try_lock_for(pause));
}

// Never destroyed: a thread that is still in a library may end after everything else.
Hdf5Lock& hdf5_family_lock() {
  static auto* const lock = new Hdf5Lock(kPatienceSeconds);
  return *lock;
}

}  // namespace trib::io
