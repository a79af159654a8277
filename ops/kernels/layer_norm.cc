#include "ops/kernels/layer_norm.h"

#include <cmath>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector/float_vector.h"
#include "ops/kernels/vector/stream_store.h"

namespace trib::ops {
namespace {

// x += branch and the mean of the result.
template <class Branch>
float add_and_mean(float* x, const Branch* branch, std::int64_t dim) {
  const float sum =
      branch == nullptr
          ? simd::sum_of_vectors(
                dim, [=](std::int64_t i, auto extent) { return simd::load(x + i, extent); })
          : simd::sum_of_vectors(dim, [=](std::int64_t i, auto extent) {
              const simd::Vector both = simd::load(x + i, extent) + simd::load(branch + i, extent);
              simd::store(x + i, both, extent);
              return both;
            });
  return sum / static_cast<float>(dim);
}

float variance(const float* x, float mean, std::int64_t dim) {
  return simd::sum_of_vectors(dim,
                              [=](std::int64_t i, auto extent) {
                                const simd::Vector d = simd::load(x + i, extent) - mean;
                                return d * d;
                              }) /
         static_cast<float>(dim);
}

template <class T, class Branch>
void forward_rows(T* y_rd, T* x_hat_rd, float* rstd_r, float* x_rd, const Branch* branch_rd,
                  const float* weight_d, const float* bias_d, std::int64_t rows, std::int64_t dim,
                  float eps, bool streams) {
  const auto body = [=](std::int64_t begin, std::int64_t end, auto write) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* const x = x_rd + r * dim;
      const float mean = add_and_mean(x, branch_rd == nullptr ? nullptr : branch_rd + r * dim, dim);
      const float rstd = 1.0F / std::sqrt(variance(x, mean, dim) + eps);
      if (rstd_r != nullptr) rstd_r[r] = rstd;
      // Rounded first: y is the same when it is computed again from x_hat.
      const auto x_hat = [=](std::int64_t i, auto extent) {
        return simd::rounded<T>((simd::load(x + i, extent) - mean) * rstd);
      };
      T* const y = y_rd + r * dim;
      const auto affine = [=](simd::Vector hat, std::int64_t i, auto extent) {
        return hat * simd::load(weight_d + i, extent) + simd::load(bias_d + i, extent);
      };
      if (x_hat_rd == nullptr) {
        simd::for_vectors(dim, [=](std::int64_t i, auto extent) {
          write(y + i, affine(x_hat(i, extent), i, extent), extent);
        });
      } else {
        T* const kept = x_hat_rd + r * dim;
        simd::for_vectors(dim, [=](std::int64_t i, auto extent) {
          const simd::Vector hat = x_hat(i, extent);
          write(kept + i, hat, extent);
          write(y + i, affine(hat, i, extent), extent);
        });
      }
    }
  };
  parallel_for_writing(streams, rows, row_grain(dim), body);
}

// A few rows at once, so that the sums of the parameters' gradients are taken from the cache and
// put back once for all of them. sum_2d: gradients of weight, then of bias.
template <int kRows, bool kAccumulates, class T>
void backward_rows(float* dx_rd, float* sum_2d, const T* dy_rd, const T* x_hat_rd,
                   const float* weight_d, const float* rstd_r, std::int64_t dim) {
  simd::Vector sum_g[kRows] = {};   // of g = dy * weight
  simd::Vector sum_gx[kRows] = {};  // of g * x_hat
  simd::for_vectors(dim, [&](std::int64_t i, auto extent) {
    const simd::Vector weight = simd::load(weight_d + i, extent);
    simd::Vector d_weight = simd::load(sum_2d + i, extent);
    simd::Vector d_bias = simd::load(sum_2d + dim + i, extent);
    for (int r = 0; r < kRows; ++r) {
      const simd::Vector dy = simd::load(dy_rd + r * dim + i, extent);
      const simd::Vector x_hat = simd::load(x_hat_rd + r * dim + i, extent);
      const simd::Vector g = dy * weight;
      sum_g[r] += g;
      sum_gx[r] += g * x_hat;
      d_weight += dy * x_hat;
      d_bias += dy;
    }
    simd::store(sum_2d + i, d_weight, extent);
    simd::store(sum_2d + dim + i, d_bias, extent);
  });
  for (int r = 0; r < kRows; ++r) {
    const float mean_g = simd::sum(sum_g[r]) / static_cast<float>(dim);
    const float mean_gx = simd::sum(sum_gx[r]) / static_cast<float>(dim);
    const float rstd = rstd_r[r];
    const T *dy = dy_rd + r * dim, *x_hat = x_hat_rd + r * dim;
    float* const dx = dx_rd + r * dim;
    simd::for_vectors(dim, [=](std::int64_t i, auto extent) {
      const simd::Vector g = simd::load(dy + i, extent) * simd::load(weight_d + i, extent);
      simd::Vector change = rstd * (g - mean_g - simd::load(x_hat + i, extent) * mean_gx);
      if constexpr (kAccumulates) change += simd::load(dx + i, extent);
      simd::store(dx + i, change, extent);
    });
  }
}

template <bool kAccumulates, class T>
void backward_piece(float* dx_rd, float* sum_2d, const T* dy_rd, const T* x_hat_rd,
                    const float* weight_d, const float* rstd_r, std::int64_t begin,
                    std::int64_t end, std::int64_t dim) {
  // Of four rows there are more places to read from than the processor follows.
  constexpr int kRows = 2;
  std::int64_t r = begin;
  for (; r + kRows <= end; r += kRows) {
    backward_rows<kRows, kAccumulates>(dx_rd + r * dim, sum_2d, dy_rd + r * dim, x_hat_rd + r * dim,
                                       weight_d, rstd_r + r, dim);
  }
  for (; r < end; ++r) {
    backward_rows<1, kAccumulates>(dx_rd + r * dim, sum_2d, dy_rd + r * dim, x_hat_rd + r * dim,
                                   weight_d, rstd_r + r, dim);
  }
}

}  // namespace

void layer_norm_forward(FloatPtr y_rd, FloatPtr x_hat_rd, float* rstd_r, float* x_rd,
                        ConstFloatPtr branch_rd, const float* weight_d, const float* bias_d,
                        std::int64_t rows, std::int64_t dim, float eps) {
  const bool has_branch = !(branch_rd == nullptr), keeps = !(x_hat_rd == nullptr);
  const double bytes =
      static_cast<double>(rows * dim) *
      static_cast<double>(
          (has_branch ? 2 * sizeof(float) + branch_rd.element_bytes() : sizeof(float)) +
          (keeps ? 2 : 1) * y_rd.element_bytes());
  const KernelScope scope("layer_norm_forward", {rows, dim}, 0, bytes);
  with_float_type(y_rd, [&]<class T>(T* y) {
    T* const x_hat = x_hat_rd.as<T>();
    const bool streams =
        bytes > kStreamBytes && can_stream(y, dim) && (!keeps || can_stream(x_hat, dim));
    with_float_type(branch_rd, [&]<class Branch>(const Branch* branch) {
      forward_rows(y, x_hat, rstd_r, x_rd, branch, weight_d, bias_d, rows, dim, eps, streams);
    });
  });
}

void layer_norm_affine(FloatPtr y_rd, ConstFloatPtr x_hat_rd, const float* weight_d,
                       const float* bias_d, std::int64_t rows, std::int64_t dim) {
  const double bytes =
      static_cast<double>(rows * dim) * 2.0 * static_cast<double>(y_rd.element_bytes());
  const KernelScope scope("layer_norm_affine", {rows, dim}, 0, bytes);
  with_float_type(y_rd, [&]<class T>(T* y_first) {
    const T* x_hat_first = x_hat_rd.as<T>();
    const bool streams = bytes > kStreamBytes && can_stream(y_first, dim);
    const auto body = [=](std::int64_t begin, std::int64_t end, auto write) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* const y = y_first + r * dim;
        const T* const x_hat = x_hat_first + r * dim;
        simd::for_vectors(dim, [=](std::int64_t i, auto extent) {
          write(y + i,
                simd::load(x_hat + i, extent) * simd::load(weight_d + i, extent) +
                    simd::load(bias_d + i, extent),
                extent);
        });
      }
    };
    parallel_for_writing(streams, rows, row_grain(dim), body);
  });
}

void layer_norm_backward(float* dx_rd, float* dweight_d, float* dbias_d, ConstFloatPtr dy_rd,
                         ConstFloatPtr x_hat_rd, const float* weight_d, const float* rstd_r,
                         std::int64_t rows, std::int64_t dim, bool accumulate_dx) {
  const KernelScope scope(
      "layer_norm_backward", {rows, dim}, 0,
      static_cast<double>(rows * dim) *
          static_cast<double>(2 * dy_rd.element_bytes() + (accumulate_dx ? 2 : 1) * sizeof(float)));
  // Both parameter gradients side by side in one reduction.
  const ScratchScope sums(2 * dim);
  float* const sum_2d = sums.data();
  std::fill_n(sum_2d, 2 * dim, 0.0F);
  with_float_type(dy_rd, [&]<class T>(const T* dy) {
    const T* const x_hat = x_hat_rd.as<T>();
    reduce_vector(
        rows, row_grain(dim), sum_2d, 2 * dim,
        [=](std::int64_t begin, std::int64_t end, float* sum) {
          if (accumulate_dx) {
            backward_piece<true>(dx_rd, sum, dy, x_hat, weight_d, rstd_r, begin, end, dim);
          } else {
            backward_piece<false>(dx_rd, sum, dy, x_hat, weight_d, rstd_r, begin, end, dim);
          }
        });
  });
  for (std::int64_t i = 0; i < dim; ++i) {
    dweight_d[i] += sum_2d[i];
    dbias_d[i] += sum_2d[dim + i];
  }
}

}  // namespace trib::ops
