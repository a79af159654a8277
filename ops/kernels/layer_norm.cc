#include "ops/kernels/layer_norm.h"

#include <cmath>

#include "ops/base/parallel.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/reduce.h"

namespace trib::ops {

void layer_norm_forward(float* y_rd, float* mean_r, float* rstd_r, const float* x_rd,
                        const float* weight_d, const float* bias_d, std::int64_t rows,
                        std::int64_t dim, float eps) {
  const float inverse_dim = 1.0F / static_cast<float>(dim);
  parallel_for(rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* x = x_rd + r * dim;
      float* y = y_rd + r * dim;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < dim; ++i) sum += x[i];
      const float mean = sum * inverse_dim;
      float squares = 0;
#pragma omp simd reduction(+ : squares)
      for (std::int64_t i = 0; i < dim; ++i) squares += (x[i] - mean) * (x[i] - mean);
      const float rstd = 1.0F / std::sqrt(squares * inverse_dim + eps);
#pragma omp simd
      for (std::int64_t i = 0; i < dim; ++i) {
        y[i] = (x[i] - mean) * rstd * weight_d[i] + bias_d[i];
      }
      mean_r[r] = mean;
      rstd_r[r] = rstd;
    }
  });
}

void layer_norm_backward(float* dx_rd, float* dweight_d, float* dbias_d, const float* dy_rd,
                         const float* x_rd, const float* weight_d, const float* mean_r,
                         const float* rstd_r, std::int64_t rows, std::int64_t dim,
                         bool accumulate_dx) {
  const float inverse_dim = 1.0F / static_cast<float>(dim);
  // Both parameter gradients side by side in one reduction.
  std::vector<float> sums(static_cast<std::size_t>(2 * dim));
  const auto body = [=](std::int64_t begin, std::int64_t end, float* sum) {
    float* sum_weight = sum;
    float* sum_bias = sum + dim;
    for (std::int64_t r = begin; r < end; ++r) {
      const float* x = x_rd + r * dim;
      const float* dy = dy_rd + r * dim;
      float* dx = dx_rd + r * dim;
      const float mean = mean_r[r];
      const float rstd = rstd_r[r];
      float mean_g = 0;   // of g = dy * weight
      float mean_gx = 0;  // of g * x_hat
#pragma omp simd reduction(+ : mean_g, mean_gx)
      for (std::int64_t i = 0; i < dim; ++i) {
        const float x_hat = (x[i] - mean) * rstd;
        const float g = dy[i] * weight_d[i];
        mean_g += g;
        mean_gx += g * x_hat;
        sum_weight[i] += dy[i] * x_hat;
        sum_bias[i] += dy[i];
      }
      mean_g *= inverse_dim;
      mean_gx *= inverse_dim;
#pragma omp simd
      for (std::int64_t i = 0; i < dim; ++i) {
        const float x_hat = (x[i] - mean) * rstd;
        const float d = rstd * (dy[i] * weight_d[i] - mean_g - x_hat * mean_gx);
        dx[i] = accumulate_dx ? dx[i] + d : d;
      }
    }
  };
  reduce_vector(rows, row_grain(dim), sums.data(), 2 * dim, body);
  for (std::int64_t i = 0; i < dim; ++i) {
    dweight_d[i] += sums[static_cast<std::size_t>(i)];
    dbias_d[i] += sums[static_cast<std::size_t>(dim + i)];
  }
}

void residual_layer_norm_forward(FloatPtr y_rd, FloatPtr x_hat_rd, float* rstd_r, float* x_rd,
                                 ConstFloatPtr branch_rd, const float* weight_d,
                                 const float* bias_d, std::int64_t rows, std::int64_t dim,
                                 float eps) {
  const float inverse_dim = 1.0F / static_cast<float>(dim);
  if (!(branch_rd == nullptr)) add(x_rd, branch_rd, rows * dim);
  with_float_type(y_rd, [&]<class T>(T* y_first) {
    T* const x_hat_first = x_hat_rd.as<T>();
    parallel_for(rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const float* x = x_rd + r * dim;
        T* y = y_first + r * dim;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t i = 0; i < dim; ++i) sum += x[i];
        const float mean = sum * inverse_dim;
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (std::int64_t i = 0; i < dim; ++i) squares += (x[i] - mean) * (x[i] - mean);
        const float rstd = 1.0F / std::sqrt(squares * inverse_dim + eps);
        if (rstd_r != nullptr) rstd_r[r] = rstd;
        T* x_hat = x_hat_first == nullptr ? nullptr : x_hat_first + r * dim;
#pragma omp simd
        for (std::int64_t i = 0; i < dim; ++i) {
          const T hat(((x[i] - mean) * rstd));
          if (x_hat != nullptr) x_hat[i] = hat;
          y[i] = T(static_cast<float>(hat) * weight_d[i] + bias_d[i]);
        }
      }
    });
  });
}

void layer_norm_affine(FloatPtr y_rd, ConstFloatPtr x_hat_rd, const float* weight_d,
                       const float* bias_d, std::int64_t rows, std::int64_t dim) {
  with_float_type(y_rd, [&]<class T>(T* y) {
    const T* x_hat = x_hat_rd.as<T>();
    parallel_for(rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
#pragma omp simd
        for (std::int64_t i = 0; i < dim; ++i) {
          y[r * dim + i] = T(static_cast<float>(x_hat[r * dim + i]) * weight_d[i] + bias_d[i]);
        }
      }
    });
  });
}

void layer_norm_backward(float* dx_rd, float* dweight_d, float* dbias_d, ConstFloatPtr dy_rd,
                         ConstFloatPtr x_hat_rd, const float* weight_d, const float* rstd_r,
                         std::int64_t rows, std::int64_t dim, bool accumulate_dx) {
  const float inverse_dim = 1.0F / static_cast<float>(dim);
  std::vector<float> sums(static_cast<std::size_t>(2 * dim));
  with_float_type(dy_rd, [&]<class T>(const T* dy_first) {
    const T* const x_hat_first = x_hat_rd.as<T>();
    const auto body = [=](std::int64_t begin, std::int64_t end, float* sum) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T *x_hat = x_hat_first + r * dim, *dy = dy_first + r * dim;
        float* dx = dx_rd + r * dim;
        float mean_g = 0;   // of g = dy * weight
        float mean_gx = 0;  // of g * x_hat
#pragma omp simd reduction(+ : mean_g, mean_gx)
        for (std::int64_t i = 0; i < dim; ++i) {
          const auto d = static_cast<float>(dy[i]), hat = static_cast<float>(x_hat[i]);
          mean_g += d * weight_d[i];
          mean_gx += d * weight_d[i] * hat;
          sum[i] += d * hat;
          sum[dim + i] += d;
        }
        mean_g *= inverse_dim;
        mean_gx *= inverse_dim;
        const float rstd = rstd_r[r];
#pragma omp simd
        for (std::int64_t i = 0; i < dim; ++i) {
          const auto d = static_cast<float>(dy[i]), hat = static_cast<float>(x_hat[i]);
          const float change = rstd * (d * weight_d[i] - mean_g - hat * mean_gx);
          dx[i] = accumulate_dx ? dx[i] + change : change;
        }
      }
    };
    reduce_vector(rows, row_grain(dim), sums.data(), 2 * dim, body);
  });
  for (std::int64_t i = 0; i < dim; ++i) {
    dweight_d[i] += sums[static_cast<std::size_t>(i)];
    dbias_d[i] += sums[static_cast<std::size_t>(dim + i)];
  }
}

}  // namespace trib::ops
