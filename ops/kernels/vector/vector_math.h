// exp and sums that compilers turn into vector instructions. Private to ops/kernels.
//
// The functions have no branches and call nothing, so that loops over them vectorise under
// `#pragma omp simd` (-fopenmp-simd). Not-a-number and infinities behave as in <cmath>. They must
// not be compiled with -fassociative-math, which would undo the rounding trick of vector_exp.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace trib::ops {

/// e^x with a relative error below 2e-7; results below the smallest normal number are 0.
inline float vector_exp(float x) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693145752F;  // 15 bits: times a whole number it is exact
  constexpr float kLn2Low = 1.42860677e-6F;
  constexpr float kRound = 0x1.8p23F;  // adding it leaves the nearest whole number in the low bits
  constexpr float kLowest = -87.3365F;
  constexpr float kHighest = 88.7228F;

  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;  // in [-ln 2 / 2, ln 2 / 2]
  float p = 1.37805939e-3F;                          // minimax on that interval
  p = p * r + 8.37312452e-3F;
  p = p * r + 4.16695364e-2F;
  p = p * r + 1.66664720e-1F;
  p = p * r + 4.99999851e-1F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  // Times 2^n: n goes straight into the exponent.
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  float result = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
  result = x < kLowest ? 0.0F : result;
  result = x > kHighest ? std::numeric_limits<float>::infinity() : result;
  return x == x ? result : x;
}

inline float dot(const float* a, const float* b, std::int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// Replace x by exp(x - shift) and return the sum of the results.
inline float exp_and_sum(float* x, float shift, std::int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) {
    x[i] = vector_exp(x[i] - shift);
    sum += x[i];
  }
  return sum;
}

/// The largest element, at least `floor`. Not-a-number is passed over.
inline float max_of(const float* x, std::int64_t count, float floor) {
  float largest = floor;
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

}  // namespace trib::ops
