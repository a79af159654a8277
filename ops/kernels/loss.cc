#include "ops/kernels/loss.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector/float_vector.h"
#include "ops/kernels/vector/stream_store.h"

namespace trib::ops {
namespace {

// The sum of (prediction - target)^2.
double squared_error(const float* prediction, const float* target, std::int64_t count) {
  return simd::sum_of_doubles(count, [=](std::int64_t i, auto extent) {
    const auto p = simd::widen(simd::load(prediction + i, extent));
    const auto t = simd::widen(simd::load(target + i, extent));
    const simd::Doubles low = p.low - t.low, high = p.high - t.high;
    return simd::DoublePair{low * low, high * high};
  });
}

// d = factor * (prediction - target).
template <class Writer>
void scaled_error(float* d, const float* prediction, const float* target, std::int64_t count,
                  float factor, Writer write) {
  simd::for_vectors(count, [=](std::int64_t i, auto extent) {
    write(d + i, factor * (simd::load(prediction + i, extent) - simd::load(target + i, extent)),
          extent);
  });
}

double sum_of(const float* x, std::int64_t count) {
  return simd::sum_of_doubles(
      count, [=](std::int64_t i, auto extent) { return simd::widen(simd::load(x + i, extent)); });
}

// How many are not NaN.
double valid_of(const float* x, std::int64_t count) {
  return simd::sum_of_doubles(count, [=](std::int64_t i, auto extent) {
    const simd::Vector value = simd::load(x + i, extent);
    return simd::widen(simd::only(value == value ? simd::set(1) : simd::set(0), extent));
  });
}

// The sum of (prediction - target)^2 where the target is not NaN.
double valid_squared_error(const float* prediction, const float* target, std::int64_t count) {
  return simd::sum_of_doubles(count, [=](std::int64_t i, auto extent) {
    const simd::Vector value = simd::load(target + i, extent), nothing = simd::set(0);
    const simd::Vector beside = simd::load(prediction + i, extent);
    const auto p = simd::widen(value == value ? beside : nothing);
    const auto t = simd::widen(value == value ? value : nothing);
    const simd::Doubles low = p.low - t.low, high = p.high - t.high;
    return simd::DoublePair{low * low, high * high};
  });
}

double bytes_of(std::int64_t count, int operands) {
  return static_cast<double>(count) * operands * static_cast<double>(sizeof(float));
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
  const KernelScope scope("count_valid", {count}, 0, bytes_of(count, 1));
  return reduce(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
    return valid_of(target + begin, end - begin);
  });
}

double mse_forward(const float* prediction, const float* target, std::int64_t count) {
  const KernelScope scope("mse_forward", {count}, 0, bytes_of(count, 2));
  const double sum = reduce(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
    return squared_error(prediction + begin, target + begin, end - begin);
  });
  return sum / static_cast<double>(count);
}

void mse_backward(float* d_prediction, const float* prediction, const float* target,
                  std::int64_t count, float scale) {
  const KernelScope scope("mse_backward", {count}, 0, bytes_of(count, 3));
  const auto factor = static_cast<float>(2.0 * scale / static_cast<double>(count));
  const bool streams = bytes_of(count, 3) > kStreamBytes && can_stream(d_prediction, 0);
  parallel_for_elements(streams, count, [=](std::int64_t begin, std::int64_t end, auto write) {
    scaled_error(d_prediction + begin, prediction + begin, target + begin, end - begin, factor,
                 write);
  });
}

double masked_mse_forward(const float* prediction_rp, const float* target_rp, const float* mask_r,
                          std::int64_t rows, std::int64_t pixels) {
  const KernelScope scope("masked_mse_forward", {rows, pixels}, 0, bytes_of(rows * pixels, 2));
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
  const KernelScope scope("masked_mse_backward", {rows, pixels}, 0, bytes_of(rows * pixels, 3));
  const double masked = sum_of(mask_r, rows);
  const bool streams =
      bytes_of(rows * pixels, 3) > kStreamBytes && can_stream(d_prediction_rp, pixels);
  const double factor = masked == 0 ? 0 : 2.0 * scale / static_cast<double>(pixels) / masked;
  const auto body = [=](std::int64_t begin, std::int64_t end, auto write) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* const d = d_prediction_rp + r * pixels;
      if (mask_r[r] == 0) {
        simd::for_vectors(pixels,
                          [=](std::int64_t i, auto extent) { write(d + i, simd::set(0), extent); });
      } else {
        scaled_error(d, prediction_rp + r * pixels, target_rp + r * pixels, pixels,
                     static_cast<float>(factor * mask_r[r]), write);
      }
    }
  };
  parallel_for_writing(streams, rows, row_grain(pixels), body);
}

void patch_sums(double* sum_r, const float* target_rp, std::int64_t rows, std::int64_t pixels) {
  parallel_for(rows, row_grain(pixels), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      sum_r[r] = sum_of(target_rp + r * pixels, pixels);
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
  const KernelScope scope("weighted_mse_forward", {images, height, width}, 0,
                          bytes_of(images * height * width, 2));
  const auto part = [=](std::int64_t begin, std::int64_t end) {
    Valid valid;
    for (std::int64_t row = begin; row < end; ++row) {
      const float* prediction = prediction_bvhw + row * width;
      const float* target = target_bvhw + row * width;
      valid += {weight_h[row % height] * valid_squared_error(prediction, target, width),
                valid_of(target, width)};
    }
    return valid;
  };
  return reduce(images * height, row_grain(width), part).mean();
}

void weighted_mse_backward(float* d_prediction_bvhw, const float* prediction_bvhw,
                           const float* target_bvhw, const float* weight_h, std::int64_t images,
                           std::int64_t height, std::int64_t width, float scale) {
  const std::int64_t count = images * height * width;
  const KernelScope scope("weighted_mse_backward", {images, height, width}, 0, bytes_of(count, 3));
  const double valid = count_valid(target_bvhw, count);
  const double factor = valid > 0 ? 2.0 * scale / valid : 0;
  const bool streams = bytes_of(count, 3) > kStreamBytes && can_stream(d_prediction_bvhw, width);
  const auto body = [=](std::int64_t begin, std::int64_t end, auto write) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* prediction = prediction_bvhw + row * width;
      const float* target = target_bvhw + row * width;
      float* const d = d_prediction_bvhw + row * width;
      const auto row_factor = static_cast<float>(factor * weight_h[row % height]);
      simd::for_vectors(width, [=](std::int64_t i, auto extent) {
        const simd::Vector value = simd::load(target + i, extent);
        const simd::Vector change = row_factor * (simd::load(prediction + i, extent) - value);
        write(d + i, value == value ? change : simd::set(0), extent);
      });
    }
  };
  parallel_for_writing(streams, images * height, row_grain(width), body);
}

}  // namespace trib::ops
