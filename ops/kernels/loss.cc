#include "ops/kernels/loss.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"

namespace trib::ops {
namespace {

double squared_error(const float* prediction, const float* target, std::int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) {
    const double error = static_cast<double>(prediction[i]) - target[i];
    sum += error * error;
  }
  return sum;
}

// d = factor * (prediction - target).
void scaled_error(float* d, const float* prediction, const float* target, std::int64_t count,
                  float factor) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) d[i] = factor * (prediction[i] - target[i]);
}

double sum_of(const float* x, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += x[i];
  return sum;
}

// A sum over the targets that are there, and their number.
struct Valid {
  double sum = 0;
  double count = 0;

  Valid& operator+=(const Valid& other) {
    sum += other.sum;
    count += other.count;
    return *this;
  }
  double mean() const { return count > 0 ? sum / count : 0; }
};

}  // namespace

double count_valid(const float* target, std::int64_t count) {
  return reduce(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
    double valid = 0;
#pragma omp simd reduction(+ : valid)
    for (std::int64_t i = begin; i < end; ++i) valid += target[i] == target[i] ? 1.0 : 0.0;
    return valid;
  });
}

double mse_forward(const float* prediction, const float* target, std::int64_t count) {
  const double sum = reduce(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
    return squared_error(prediction + begin, target + begin, end - begin);
  });
  return sum / static_cast<double>(count);
}

void mse_backward(float* d_prediction, const float* prediction, const float* target,
                  std::int64_t count, float scale) {
  const auto factor = static_cast<float>(2.0 * scale / static_cast<double>(count));
  parallel_for(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
    scaled_error(d_prediction + begin, prediction + begin, target + begin, end - begin, factor);
  });
}

double masked_mse_forward(const float* prediction_rp, const float* target_rp, const float* mask_r,
                          std::int64_t rows, std::int64_t pixels) {
  const double masked = sum_of(mask_r, rows);
  if (masked == 0) return 0;
  const double sum = reduce(rows, row_grain(pixels), [=](std::int64_t begin, std::int64_t end) {
    double part = 0;
    for (std::int64_t r = begin; r < end; ++r) {
      if (mask_r[r] == 0) continue;
      part += mask_r[r] * squared_error(prediction_rp + r * pixels, target_rp + r * pixels, pixels);
    }
    return part;
  });
  return sum / static_cast<double>(pixels) / masked;
}

void masked_mse_backward(float* d_prediction_rp, const float* prediction_rp, const float* target_rp,
                         const float* mask_r, std::int64_t rows, std::int64_t pixels, float scale) {
  const double masked = sum_of(mask_r, rows);
  const double factor = masked == 0 ? 0 : 2.0 * scale / static_cast<double>(pixels) / masked;
  parallel_for(rows, row_grain(pixels), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* d = d_prediction_rp + r * pixels;
      if (mask_r[r] == 0) {
        std::fill_n(d, pixels, 0.0F);
      } else {
        scaled_error(d, prediction_rp + r * pixels, target_rp + r * pixels, pixels,
                     static_cast<float>(factor * mask_r[r]));
      }
    }
  });
}

void patch_sums(double* sum_r, const float* target_rp, std::int64_t rows, std::int64_t pixels) {
  parallel_for(rows, row_grain(pixels), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* target = target_rp + r * pixels;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < pixels; ++i) sum += target[i];
      sum_r[r] = sum;
    }
  });
}

void center_patches(float* target_rp, double* squares_r, const double* mean_r, std::int64_t rows,
                    std::int64_t pixels) {
  parallel_for(rows, row_grain(pixels), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* target = target_rp + r * pixels;
      const auto mean = static_cast<float>(mean_r[r]);
      double squares = 0;
#pragma omp simd reduction(+ : squares)
      for (std::int64_t i = 0; i < pixels; ++i) {
        target[i] -= mean;
        squares += static_cast<double>(target[i]) * target[i];
      }
      squares_r[r] = squares;
    }
  });
}

void scale_patches(float* target_rp, const double* variance_r, std::int64_t rows,
                   std::int64_t pixels) {
  constexpr double kEps = 1e-6;
  parallel_for(rows, row_grain(pixels), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* target = target_rp + r * pixels;
      const auto inverse = static_cast<float>(1 / std::sqrt(variance_r[r] + kEps));
#pragma omp simd
      for (std::int64_t i = 0; i < pixels; ++i) target[i] *= inverse;
    }
  });
}

void latitude_weights(float* weight_h, const double* latitudes_h, std::int64_t height) {
  const auto cosine = [=](std::int64_t h) {
    return std::cos(latitudes_h[h] * std::numbers::pi / 180.0);
  };
  double sum = 0;
  for (std::int64_t h = 0; h < height; ++h) sum += cosine(h);
  const double mean = sum / static_cast<double>(height);
  for (std::int64_t h = 0; h < height; ++h) weight_h[h] = static_cast<float>(cosine(h) / mean);
}

double weighted_mse_forward(const float* prediction_bvhw, const float* target_bvhw,
                            const float* weight_h, std::int64_t images, std::int64_t height,
                            std::int64_t width) {
  const auto part = [=](std::int64_t begin, std::int64_t end) {
    Valid valid;
    for (std::int64_t row = begin; row < end; ++row) {
      const float* prediction = prediction_bvhw + row * width;
      const float* target = target_bvhw + row * width;
      double sum = 0, count = 0;
#pragma omp simd reduction(+ : sum, count)
      for (std::int64_t i = 0; i < width; ++i) {
        const double error = static_cast<double>(prediction[i]) - target[i];
        const bool is_there = target[i] == target[i];
        sum += is_there ? error * error : 0.0;
        count += is_there ? 1.0 : 0.0;
      }
      valid += {weight_h[row % height] * sum, count};
    }
    return valid;
  };
  return reduce(images * height, row_grain(width), part).mean();
}

void weighted_mse_backward(float* d_prediction_bvhw, const float* prediction_bvhw,
                           const float* target_bvhw, const float* weight_h, std::int64_t images,
                           std::int64_t height, std::int64_t width, float scale) {
  const double valid = count_valid(target_bvhw, images * height * width);
  const double factor = valid > 0 ? 2.0 * scale / valid : 0;
  parallel_for(images * height, row_grain(width), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* prediction = prediction_bvhw + row * width;
      const float* target = target_bvhw + row * width;
      float* d = d_prediction_bvhw + row * width;
      const auto row_factor = static_cast<float>(factor * weight_h[row % height]);
#pragma omp simd
      for (std::int64_t i = 0; i < width; ++i) {
        d[i] = target[i] == target[i] ? row_factor * (prediction[i] - target[i]) : 0.0F;
      }
    }
  });
}

}  // namespace trib::ops
