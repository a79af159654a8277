// Elementwise activations and sums.
#pragma once

#include <cstdint>

#include "ops/base/float_ptr.h"

namespace trib::ops {

/// GELU with the error function: y = x/2 (1 + erf(x / sqrt 2)). y may be x; both of one type.
void gelu_forward(FloatPtr y, ConstFloatPtr x, std::int64_t count);
/// dx = dy * gelu'(x) and, unless null, activated = gelu(x): the input x alone need be kept for
/// backward. dx may be dy, activated may be x; all of one type.
void gelu_backward(FloatPtr dx, FloatPtr activated, ConstFloatPtr dy, ConstFloatPtr x,
                   std::int64_t count);

/// to = from, rounded where `to` is narrower. They must not overlap unless they are the same.
void convert(FloatPtr to, ConstFloatPtr from, std::int64_t count);

/// y += x.
void add(float* y, ConstFloatPtr x, std::int64_t count);
/// y_rd += x_d on every row.
void add_to_rows(FloatPtr y_rd, const float* x_d, std::int64_t rows, std::int64_t dim);
/// y_d += sum of the rows of x_rd.
void add_row_sum(float* y_d, ConstFloatPtr x_rd, std::int64_t rows, std::int64_t dim);
/// Sum of squares in double, independent of the number of threads.
double sum_of_squares(const float* x, std::int64_t count);

}  // namespace trib::ops
