#include "ops/kernels/linear.h"

#include <algorithm>

#include "ops/base/parallel.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/reduce.h"

namespace trib::ops {

void linear_forward(FloatPtr y_ro, ConstFloatPtr x_ri, ConstFloatPtr w_oi, const float* b_o,
                    std::int64_t rows, std::int64_t in, std::int64_t out, bool accumulate_y) {
  // A product is added to the bias: cheaper than adding the bias to the product, because a product
  // without addend begins by clearing its result anyway. Products are never added to bfloat16.
  const bool is_bias_first = b_o != nullptr && !y_ro.is_bf16();
  if (is_bias_first && accumulate_y) add_to_rows(y_ro, b_o, rows, out);
  if (is_bias_first && !accumulate_y) {
    float* const y = y_ro.as<float>();
    parallel_for(rows, row_grain(out), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) std::copy_n(b_o, out, y + r * out);
    });
  }
  gemm(Transpose::no, Transpose::yes, rows, out, in, 1.0F, x_ri, in, w_oi, in,
       is_bias_first || accumulate_y ? 1.0F : 0.0F, y_ro, out);
  if (b_o != nullptr && !is_bias_first) add_to_rows(y_ro, b_o, rows, out);
}

void linear_gelu_forward(FloatPtr activated_ro, FloatPtr hidden_ro, ConstFloatPtr x_ri,
                         ConstFloatPtr w_oi, const float* b_o, std::int64_t rows, std::int64_t in,
                         std::int64_t out) {
  linear_forward(hidden_ro, x_ri, w_oi, b_o, rows, in, out);
  gelu_forward(activated_ro, hidden_ro, rows * out);
}

void linear_backward(FloatPtr dx_ri, float* dw_oi, float* db_o, ConstFloatPtr dy_ro,
                     ConstFloatPtr x_ri, ConstFloatPtr w_oi, std::int64_t rows, std::int64_t in,
                     std::int64_t out, bool accumulate_dx) {
  if (!(dx_ri == nullptr)) {
    gemm(Transpose::no, Transpose::no, rows, in, out, 1.0F, dy_ro, out, w_oi, in,
         accumulate_dx ? 1.0F : 0.0F, dx_ri, in);
  }
  if (dw_oi != nullptr) {
    gemm(Transpose::yes, Transpose::no, out, in, rows, 1.0F, dy_ro, out, x_ri, in, 1.0F, dw_oi, in);
  }
  if (db_o != nullptr) add_row_sum(db_o, dy_ro, rows, out);
}

}  // namespace trib::ops
