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

/// Multi-head self-attention of the packed qkv_bn3hd, with all scores of a head at once.
/// `lse_bhn` gets the log-sum-exp of the scaled scores if it is not null.
inline Doubles attention(const float* qkv_bn3hd, Index batch, Index tokens, Index heads,
                         Index head_dim, Doubles* lse_bhn = nullptr) {
  const Index width = heads * head_dim;
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  Doubles out(size(batch * tokens * width));
  if (lse_bhn != nullptr) lse_bhn->clear();
  for (Index b = 0; b < batch; ++b) {
    for (Index h = 0; h < heads; ++h) {
      // which: 0 query, 1 key, 2 value
      const auto at = [&](Index which, Index n, Index d) -> double {
        return qkv_bn3hd[((b * tokens + n) * 3 + which) * width + h * head_dim + d];
      };
      Doubles scores(size(tokens * tokens));
      for (Index i = 0; i < tokens; ++i) {
        double sum = 0;
        for (Index j = 0; j < tokens; ++j) {
          double& score = scores[size(i * tokens + j)];
          for (Index d = 0; d < head_dim; ++d) score += scale * at(0, i, d) * at(1, j, d);
          sum += std::exp(score);
        }
        if (lse_bhn != nullptr) lse_bhn->push_back(std::log(sum));
      }
      softmax(scores.data(), tokens, tokens);
      for (Index i = 0; i < tokens; ++i) {
        for (Index d = 0; d < head_dim; ++d) {
          double& o = out[size((b * tokens + i) * width + h * head_dim + d)];
          for (Index j = 0; j < tokens; ++j) o += scores[size(i * tokens + j)] * at(2, j, d);
        }
      }
    }
  }
  return out;
}

/// One query with the channels of each position. `a_rhc` gets the weights if it is not null.
inline Doubles channel_attention(const float* q_hd, const float* kv_rc2hd, Index rows,
                                 Index channels, Index heads, Index head_dim,
                                 Doubles* a_rhc = nullptr) {
  const Index width = heads * head_dim;
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  Doubles out(size(rows * width)), a(size(rows * heads * channels));
  for (Index r = 0; r < rows; ++r) {
    for (Index h = 0; h < heads; ++h) {
      // which: 0 key, 1 value
      const auto at = [&](Index which, Index c, Index d) -> double {
        return kv_rc2hd[((r * channels + c) * 2 + which) * width + h * head_dim + d];
      };
      double* weights = a.data() + (r * heads + h) * channels;
      for (Index c = 0; c < channels; ++c) {
        for (Index d = 0; d < head_dim; ++d) {
          weights[c] += scale * q_hd[h * head_dim + d] * at(0, c, d);
        }
      }
      softmax(weights, 1, channels);
      for (Index d = 0; d < head_dim; ++d) {
        double& o = out[size(r * width + h * head_dim + d)];
        for (Index c = 0; c < channels; ++c) o += weights[c] * at(1, c, d);
      }
    }
  }
  if (a_rhc != nullptr) *a_rhc = a;
  return out;
}

inline Doubles channel_linear(const float* tokens_rcd, const float* w_c, float bias, Index rows,
                              Index channels, Index dim) {
  Doubles out(size(rows * dim), bias);
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < channels; ++c) {
      for (Index d = 0; d < dim; ++d) {
        out[size(r * dim + d)] +=
            static_cast<double>(w_c[c]) * tokens_rcd[(r * channels + c) * dim + d];
      }
    }
  }
  return out;
}

/// Mean of weight * (prediction - target)^2 over the elements whose target is not NaN, weight being
/// that of the element's row.
inline double weighted_mse(const float* prediction, const float* target, const float* weight_h,
                           Index images, Index height, Index width) {
  double sum = 0, count = 0;
  for (Index i = 0; i < images * height * width; ++i) {
    if (std::isnan(target[i])) continue;
    const double error = static_cast<double>(prediction[i]) - target[i];
    sum += weight_h[i / width % height] * error * error;
    ++count;
  }
  return sum / count;
}

/// Mean over the rows, weighted by the mask, of the mean squared error of a row.
inline double masked_mse(const float* prediction_rp, const float* target_rp, const float* mask_r,
                         Index rows, Index pixels) {
  double sum = 0, masked = 0;
  for (Index r = 0; r < rows; ++r) {
    if (mask_r[r] == 0) continue;
    masked += mask_r[r];
    for (Index p = 0; p < pixels; ++p) {
      const double error =
          static_cast<double>(prediction_rp[r * pixels + p]) - target_rp[r * pixels + p];
      sum += mask_r[r] * error * error / static_cast<double>(pixels);
    }
  }
  return sum / masked;
}

}  // namespace trib::reference
