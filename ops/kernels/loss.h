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

/// The parts of MAE's norm_pix_loss, each row to mean 0 and unbiased variance 1; apart, so that
/// ranks that hold different channels of the patches can put their sums together in between.
void patch_sums(double* sum_r, const float* target_rp, std::int64_t rows, std::int64_t pixels);
/// Subtract mean_r from the rows; squares_r gets the sums of squares of what is left.
void center_patches(float* target_rp, double* squares_r, const double* mean_r, std::int64_t rows,
                    std::int64_t pixels);
/// Divide each row by sqrt(variance_r + 1e-6).
void scale_patches(float* target_rp, const double* variance_r, std::int64_t rows,
                   std::int64_t pixels);

/// Latitude weights w_h = cos(lat_h) / mean(cos lat) (ClimaX, WeatherBench); degrees.
void latitude_weights(float* weight_h, const double* latitudes_h, std::int64_t height);

/// Number of targets that are not NaN.
double count_valid(const float* target, std::int64_t count);

/// Mean over b, v, h, w of weight_h (prediction - target)^2. Targets that are NaN do not count.
double weighted_mse_forward(const float* prediction_bvhw, const float* target_bvhw,
                            const float* weight_h, std::int64_t images, std::int64_t height,
                            std::int64_t width);
void weighted_mse_backward(float* d_prediction_bvhw, const float* prediction_bvhw,
                           const float* target_bvhw, const float* weight_h, std::int64_t images,
                           std::int64_t height, std::int64_t width, float scale);

}  // namespace trib::ops
