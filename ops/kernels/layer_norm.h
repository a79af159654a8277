// Layer normalisation over the last axis (Ba et al., 2016).
#pragma once

#include <cstdint>

#include "ops/base/float_ptr.h"

namespace trib::ops {

/// On a residual stream: x += branch (unless null), then y = x_hat * weight + bias over each row of
/// `dim` elements, with x_hat = (x - mean) * rstd and rstd = (variance + eps)^-1/2. x_hat_rd and
/// rstd_r are kept for the backward; both may be null if none follows. y_rd and x_hat_rd are of one
/// type, branch_rd of either.
void layer_norm_forward(FloatPtr y_rd, FloatPtr x_hat_rd, float* rstd_r, float* x_rd,
                        ConstFloatPtr branch_rd, const float* weight_d, const float* bias_d,
                        std::int64_t rows, std::int64_t dim, float eps);

/// y again from what was kept, of one type.
void layer_norm_affine(FloatPtr y_rd, ConstFloatPtr x_hat_rd, const float* weight_d,
                       const float* bias_d, std::int64_t rows, std::int64_t dim);

/// From what layer_norm_forward kept; dy_rd is of the type of x_hat_rd. dx_rd is added to if
/// `accumulate_dx`, else written; dweight_d and dbias_d are added to. dx_rd may be dy_rd unless it
/// accumulates.
void layer_norm_backward(float* dx_rd, float* dweight_d, float* dbias_d, ConstFloatPtr dy_rd,
                         ConstFloatPtr x_hat_rd, const float* weight_d, const float* rstd_r,
                         std::int64_t rows, std::int64_t dim, bool accumulate_dx);

}  // namespace trib::ops
