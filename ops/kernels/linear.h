// y = x W^T + b, as torch.nn.Linear.
//
// Axes: r row (any leading axes flattened), i input feature, o output feature.
#pragma once

#include <cstdint>

#include "ops/base/float_ptr.h"

namespace trib::ops {

// x_ri, w_oi and dy_ro are all float32 or all bfloat16; y_ro, dx_ri float32 or of that type.
// Gradients of parameters, and biases, are float32.

/// y_ro = x_ri w_oi^T + b_o; `b_o` may be null. With `accumulate_y`, added to a float32 y_ro.
void linear_forward(FloatPtr y_ro, ConstFloatPtr x_ri, ConstFloatPtr w_oi, const float* b_o,
                    std::int64_t rows, std::int64_t in, std::int64_t out,
                    bool accumulate_y = false);

/// hidden_ro = x_ri w_oi^T + b_o, of the type of x_ri, and activated_ro = gelu(hidden_ro), in one
/// go.
void linear_gelu_forward(FloatPtr activated_ro, FloatPtr hidden_ro, ConstFloatPtr x_ri,
                         ConstFloatPtr w_oi, const float* b_o, std::int64_t rows, std::int64_t in,
                         std::int64_t out);

/// dx_ri = dy_ro w_oi; dw_oi += dy^T x; db_o += column sums of dy; each is skipped if its result is
/// null (x_ri may be, too, without dw_oi; and w_oi without dx_ri). With `accumulate_dx` the input
/// gradient is added to a float32 dx_ri.
void linear_backward(FloatPtr dx_ri, float* dw_oi, float* db_o, ConstFloatPtr dy_ro,
                     ConstFloatPtr x_ri, ConstFloatPtr w_oi, std::int64_t rows, std::int64_t in,
                     std::int64_t out, bool accumulate_dx = false);

}  // namespace trib::ops
