#include "ops/kernels/activation.h"

#include <limits>
#include <numbers>

#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector_math.h"

namespace trib::ops {
namespace {

constexpr float kInvSqrt2 = std::numbers::sqrt2_v<float> / 2;
constexpr float kInvSqrt2Pi = std::numbers::inv_sqrtpi_v<float> * kInvSqrt2;

// The normal distribution function.
float normal_cdf(float x) {
  return 0.5F + 0.5F * vector_erf(x * kInvSqrt2);
}

}  // namespace

void gelu_forward(float* y, const float* x, std::int64_t count) {
  parallel_for(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) y[i] = x[i] * normal_cdf(x[i]);
  });
}

void gelu_backward(float* dx, const float* dy, const float* x, std::int64_t count) {
  parallel_for(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float density = kInvSqrt2Pi * vector_exp(-0.5F * x[i] * x[i]);
      dx[i] = dy[i] * (normal_cdf(x[i]) + x[i] * density);
    }
  });
}

void softmax_forward(float* y_rd, const float* x_rd, std::int64_t rows, std::int64_t dim) {
  parallel_for(rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* x = x_rd + r * dim;
      float* y = y_rd + r * dim;
      const float largest = max_of(x, dim, -std::numeric_limits<float>::infinity());
#pragma omp simd
      for (std::int64_t i = 0; i < dim; ++i) y[i] = x[i];
      const float inverse = 1.0F / exp_and_sum(y, largest, dim);
#pragma omp simd
      for (std::int64_t i = 0; i < dim; ++i) y[i] *= inverse;
    }
  });
}

void softmax_backward(float* dx_rd, const float* dy_rd, const float* y_rd, std::int64_t rows,
                      std::int64_t dim) {
  parallel_for(rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* y = y_rd + r * dim;
      const float* dy = dy_rd + r * dim;
      float* dx = dx_rd + r * dim;
      const float mean = dot(y, dy, dim);
#pragma omp simd
      for (std::int64_t i = 0; i < dim; ++i) dx[i] = y[i] * (dy[i] - mean);
    }
  });
}

void add(float* y, const float* x, std::int64_t count) {
  parallel_for(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) y[i] += x[i];
  });
}

void add_to_rows(float* y_rd, const float* x_d, std::int64_t rows, std::int64_t dim) {
  parallel_for(rows, row_grain(dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* y = y_rd + r * dim;
#pragma omp simd
      for (std::int64_t i = 0; i < dim; ++i) y[i] += x_d[i];
    }
  });
}

void add_row_sum(float* y_d, const float* x_rd, std::int64_t rows, std::int64_t dim) {
  reduce_vector(rows, row_grain(dim), y_d, dim,
                [=](std::int64_t begin, std::int64_t end, float* sum_d) {
                  for (std::int64_t r = begin; r < end; ++r) {
                    const float* x = x_rd + r * dim;
#pragma omp simd
                    for (std::int64_t i = 0; i < dim; ++i) sum_d[i] += x[i];
                  }
                });
}

double sum_of_squares(const float* x, std::int64_t count) {
  return reduce(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = begin; i < end; ++i) sum += static_cast<double>(x[i]) * x[i];
    return sum;
  });
}

}  // namespace trib::ops
