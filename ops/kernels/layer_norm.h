// Layer normalisation over the last axis (Ba et al., 2016).
#pragma once

#include <cstdint>

namespace trib::ops {

/// y = (x - mean) * rstd * weight + bias over each row of `dim` elements; keeps mean_r and rstd_r
/// for the backward.
void layer_norm_forward(float* y_rd, float* mean_r, float* rstd_r, const float* x_rd,
                        const float* weight_d, const float* bias_d, std::int64_t rows,
                        std::int64_t dim, float eps);

/// dx_rd is added to if `accumulate_dx`, else written; dweight_d and dbias_d are added to.
/// dx_rd may be dy_rd unless it accumulates.
void layer_norm_backward(float* dx_rd, float* dweight_d, float* dbias_d, const float* dy_rd,
                         const float* x_rd, const float* weight_d, const float* mean_r,
                         const float* rstd_r, std::int64_t rows, std::int64_t dim,
                         bool accumulate_dx = false);

}  // namespace trib::ops
