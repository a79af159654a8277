// Count, mean, variance and range of many values, in one pass over memory, without loss of digits.
#pragma once

#include <cstdint>

namespace trib {

/// Moments of the finite values of a set: NaN and infinity are counted in `total` alone. With
/// `count` 0 the rest is 0.
struct Moments {
  double total = 0;  ///< values seen
  double count = 0;  ///< finite ones
  double mean = 0;
  double m2 = 0;  ///< sum of squared deviations from the mean
  double min = 0, max = 0;

  bool operator==(const Moments&) const = default;
  /// Standard deviation of the set, divisor count.
  double std() const;
  /// Add a disjoint set (Chan, Golub & LeVeque, 1983). The bits of the result depend on the order
  /// of merging, not on who merges.
  void merge(const Moments& other);
};

/// Moments of `count` values. Pieces that fit into the cache are gone through twice, for the mean
/// and for the deviations from it, and merged. The same bits for the same values.
Moments moments_of(const float* values, std::int64_t count);

}  // namespace trib
