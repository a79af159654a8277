#include "ops/kernels/moments.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trib {
namespace {

constexpr std::int64_t kPiece = 4096;  // 16 kB: the second pass finds it in the first-level cache

// NaN compares false.
inline bool is_finite(float value) {
  return std::abs(value) <= std::numeric_limits<float>::max();
}

Moments moments_of_piece(const float* values, std::int64_t count) {
  std::int32_t finite = 0;
  double sum = 0;
  float low = std::numeric_limits<float>::max(), high = std::numeric_limits<float>::lowest();
#pragma omp simd reduction(+ : finite, sum) reduction(min : low) reduction(max : high)
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = values[i];
    const bool counts = is_finite(value);
    finite += counts ? 1 : 0;
    sum += static_cast<double>(counts ? value : 0.0F);
    low = std::min(low, counts ? value : low);
    high = std::max(high, counts ? value : high);
  }
  Moments moments;
  moments.total = static_cast<double>(count);
  if (finite == 0) return moments;
  moments.count = finite;
  moments.mean = sum / finite;
  moments.min = low;
  moments.max = high;
  const double mean = moments.mean;
  double squares = 0;
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = values[i];
    const double deviation = is_finite(value) ? static_cast<double>(value) - mean : 0.0;
    squares += deviation * deviation;
  }
  moments.m2 = squares;
  return moments;
}

}  // namespace

double Moments::std() const {
  return count > 0 ? std::sqrt(m2 / count) : 0;
}

void Moments::merge(const Moments& other) {
  total += other.total;
  if (other.count == 0) return;
  if (count == 0) {
    const double all = total;
    *this = other;
    total = all;
    return;
  }
  const double both = count + other.count;
  const double delta = other.mean - mean;
  mean += delta * other.count / both;
  m2 += other.m2 + delta * delta * count * other.count / both;
  count = both;
  min = std::min(min, other.min);
  max = std::max(max, other.max);
}

Moments moments_of(const float* values, std::int64_t count) {
  Moments all;
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    all.merge(moments_of_piece(values + begin, std::min(kPiece, count - begin)));
  }
  return all;
}

}  // namespace trib
