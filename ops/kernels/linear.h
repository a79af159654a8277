// y = x W^T + b, as torch.nn.Linear.
//
// Axes: r row (any leading axes flattened), i input feature, o output feature.
#pragma once

#include <cstdint>

namespace trib::ops {

/// y_ro = x_ri w_oi^T + b_o; `b_o` may be null.
void linear_forward(float* y_ro, const float* x_ri, const float* w_oi, const float* b_o,
                    std::int64_t rows, std::int64_t in, std::int64_t out);

/// dx_ri = dy_ro w_oi (skipped if `dx_ri` is null); dw_oi += dy^T x; db_o += column sums of dy
/// (skipped if null). With `accumulate_dx` the input gradient is added to what is there.
void linear_backward(float* dx_ri, float* dw_oi, float* db_o, const float* dy_ro, const float* x_ri,
                     const float* w_oi, std::int64_t rows, std::int64_t in, std::int64_t out,
                     bool accumulate_dx = false);

}  // namespace trib::ops
