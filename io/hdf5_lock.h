// The one lock of the HDF5 family.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace trib::io {

/// A recursive lock whose holder may be a thread that hangs for ever. Those that are given up are
/// counted; as long as there are any, it is waited for with patience, not for ever.
class Hdf5Lock {
 public:
  explicit Hdf5Lock(double patience_seconds) : patience_seconds_(patience_seconds) {}

  /// Throws DataError if threads were given up and nobody else got the lock for as long as patience
  /// lasts; at once, if that is known of the one that holds it.
  void lock() {
    if (!mutex_.try_lock()) wait();
    count();
  }
  bool try_lock() {
    if (!mutex_.try_lock()) return false;
    count();
    return true;
  }
  void unlock() { mutex_.unlock(); }

  /// So many threads more were given up, any of which may hold the lock; less, if they came back.
  void count_given_up(int threads) { given_up_ += threads; }

 private:
  void wait();
  // By the holder alone.
  void count() { times_taken_.store(times_taken_.load(kRelaxed) + 1, kRelaxed); }

  static constexpr std::memory_order kRelaxed = std::memory_order_relaxed;
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};
  std::recursive_timed_mutex mutex_;
  const double patience_seconds_;
  std::atomic<int> given_up_{0};
  std::atomic<std::uint64_t> times_taken_{0};
  std::atomic<std::uint64_t> lost_{kNever};  // taken so often when it was not given back
};

/// The lock to hold around every call into libhdf5 or libnetcdf, whether made directly or through a
/// GDAL driver built on them: libnetcdf is not thread-safe, and its globals and HDF5's are shared
/// by all of these. Hold it for fetching stored bytes, not for decoding them.
Hdf5Lock& hdf5_family_lock();

}  // namespace trib::io
