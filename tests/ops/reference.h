// The kernels' formulas written plainly, in double precision. Not fast, and not to be made so:
// these are what the fast kernels are compared with.
//
// Axes as in the kernels' headers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "ops/kernels/gemm.h"

namespace trib::reference {

using Doubles = std::vector<double>;
using Index = std::int64_t;

inline std::size_t size(Index count) {
  return static_cast<std::size_t>(count);
}

/// alpha * op(a) op(b) + beta * c, dense [m, n].
inline Doubles gemm(ops::Transpose trans_a, ops::Transpose trans_b, Index m, Index n, Index k,
                    double alpha, const float* a, Index lda, const float* b, Index ldb, double beta,
                    const float* c, Index ldc) {
  Doubles result(size(m * n));
  for (Index i = 0; i < m; ++i) {
    for (Index j = 0; j < n; ++j) {
      double sum = 0;
      for (Index l = 0; l < k; ++l) {
        const double a_il = trans_a == ops::Transpose::no ? a[i * lda + l] : a[l * lda + i];
        const double b_lj = trans_b == ops::Transpose::no ? b[l * ldb + j] : b[j * ldb + l];
        sum += a_il * b_lj;
      }
      result[size(i * n + j)] = alpha * sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
    }
  }
  return result;
}

inline Doubles linear(const float* x_ri, const float* w_oi, const float* b_o, Index rows, Index in,
                      Index out) {
  Doubles y(size(rows * out));
  for (Index r = 0; r < rows; ++r) {
    for (Index o = 0; o < out; ++o) {
      double sum = b_o != nullptr ? b_o[o] : 0;
      for (Index i = 0; i < in; ++i) {
        sum += static_cast<double>(x_ri[r * in + i]) * w_oi[o * in + i];
      }
      y[size(r * out + o)] = sum;
    }
  }
  return y;
}

inline Doubles layer_norm(const float* x_rd, const float* weight_d, const float* bias_d, Index rows,
                          Index dim, double eps) {
  Doubles y(size(rows * dim));
  for (Index r = 0; r < rows; ++r) {
    const float* x = x_rd + r * dim;
    double mean = 0, variance = 0;
    for (Index i = 0; i < dim; ++i) mean += x[i] / static_cast<double>(dim);
    for (Index i = 0; i < dim; ++i) {
      variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(dim);
    }
    for (Index i = 0; i < dim; ++i) {
      y[size(r * dim + i)] = (x[i] - mean) / std::sqrt(variance + eps) * weight_d[i] + bias_d[i];
    }
  }
  return y;
}

inline Doubles gelu(const float* x, Index count) {
  Doubles y(size(count));
  for (Index i = 0; i < count; ++i) {
    y[size(i)] = 0.5 * x[i] * std::erfc(-x[i] / std::numbers::sqrt2);
  }
  return y;
}

/// Softmax of each row of scores, in place.
inline void softmax(double* x_rd, Index rows, Index dim) {
  for (Index r = 0; r < rows; ++r) {
    double* x = x_rd + r * dim;
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (Index i = 0; i < dim; ++i) largest = std::max(largest, x[i]);
    for (Index i = 0; i < dim; ++i) sum += x[i] = std::exp(x[i] - largest);
    for (Index i = 0; i < dim; ++i) x[i] /= sum;
  }
}

}  // namespace trib::reference
