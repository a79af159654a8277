// Losses with their gradients.
#pragma once

#include <cstdint>

namespace trib::ops {

/// Mean of (prediction - target)^2 over `count` elements.
double mse_forward(const float* prediction, const float* target, std::int64_t count);
/// d_prediction = scale * 2 (prediction - target) / count.
void mse_backward(float* d_prediction, const float* prediction, const float* target,
                  std::int64_t count, float scale);

/// MAE's loss: rows are patches; sum over rows of mask_r * mean_p (prediction - target)^2, divided
/// by the sum of the mask. Rows with mask 0 do not count.
double masked_mse_forward(const float* prediction_rp, const float* target_rp, const float* mask_r,
                          std::int64_t rows, std::int64_t pixels);
void masked_mse_backward(float* d_prediction_rp, const float* prediction_rp, const float* target_rp,
                         const float* mask_r, std::int64_t rows, std::int64_t pixels, float scale);

/// Normalise each row in place to mean 0 and unbiased variance 1 (MAE norm_pix_loss, eps 1e-6).
void normalize_patches(float* target_rp, std::int64_t rows, std::int64_t pixels);

/// Latitude weights w_h = cos(lat_h) / mean(cos lat) (ClimaX, WeatherBench); degrees.
void latitude_weights(float* weight_h, const double* latitudes_h, std::int64_t height);

/// Mean over b, v, h, w of weight_h (prediction - target)^2. Targets that are NaN do not count.
double weighted_mse_forward(const float* prediction_bvhw, const float* target_bvhw,
                            const float* weight_h, std::int64_t images, std::int64_t height,
                            std::int64_t width);
void weighted_mse_backward(float* d_prediction_bvhw, const float* prediction_bvhw,
                           const float* target_bvhw, const float* weight_h, std::int64_t images,
                           std::int64_t height, std::int64_t width, float scale);

}  // namespace trib::ops
