#include "ops/kernels/linear.h"

#include "ops/base/kernel_profile.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/gemm/gemm_fused.h"

namespace trib::ops {

namespace {

double product_flops(std::int64_t rows, std::int64_t in, std::int64_t out) {
  return 2 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
}

double bytes_of(ConstFloatPtr data, std::int64_t rows, std::int64_t columns) {
  return data == nullptr ? 0
                         : static_cast<double>(data.element_bytes()) * static_cast<double>(rows) *
                               static_cast<double>(columns);
}

GemmProduct forward_product(FloatPtr y_ro, ConstFloatPtr x_ri, ConstFloatPtr w_oi, const float* b_o,
                            std::int64_t rows, std::int64_t in, std::int64_t out) {
  return {.m = rows,
          .n = out,
          .k = in,
          .alpha = 1.0F,
          .a = {x_ri, in, Transpose::no},
          .b = {w_oi, in, Transpose::yes},
          .beta = 0.0F,
          .c = y_ro,
          .ldc = out,
          .bias = b_o};
}

}  // namespace

void linear_forward(FloatPtr y_ro, ConstFloatPtr x_ri, ConstFloatPtr w_oi, const float* b_o,
                    std::int64_t rows, std::int64_t in, std::int64_t out, bool accumulate_y) {
  GemmProduct product = forward_product(y_ro, x_ri, w_oi, b_o, rows, in, out);
  if (accumulate_y) product.beta = 1.0F;
  const KernelScope scope("linear_forward", {rows, in, out}, product.flops(), product.bytes());
  gemm_fused(product);
}

void linear_gelu_forward(FloatPtr activated_ro, FloatPtr hidden_ro, ConstFloatPtr x_ri,
                         ConstFloatPtr w_oi, const float* b_o, std::int64_t rows, std::int64_t in,
                         std::int64_t out) {
  const GemmProduct product = forward_product(hidden_ro, x_ri, w_oi, b_o, rows, in, out);
  const KernelScope scope("linear_gelu_forward", {rows, in, out}, product.flops(),
                          product.bytes() + bytes_of(activated_ro, rows, out));
  gemm_fused(product, {activated_ro, out});
}

void linear_backward(FloatPtr dx_ri, float* dw_oi, float* db_o, ConstFloatPtr dy_ro,
                     ConstFloatPtr x_ri, ConstFloatPtr w_oi, std::int64_t rows, std::int64_t in,
                     std::int64_t out, bool accumulate_dx) {
  const bool has_dx = !(dx_ri == nullptr), has_dw = dw_oi != nullptr;
  const KernelScope scope(
      has_dx ? (has_dw ? "linear_backward" : "linear_backward_input") : "linear_backward_weight",
      {rows, in, out}, (has_dx + has_dw) * product_flops(rows, in, out),
      bytes_of(dx_ri, rows, in) * (accumulate_dx ? 2 : 1) + 2 * bytes_of(dw_oi, out, in) +
          bytes_of(dy_ro, rows, out) + bytes_of(x_ri, rows, in) +
          (has_dx ? bytes_of(w_oi, out, in) : 0));
  if (has_dx) {
    gemm(Transpose::no, Transpose::no, rows, in, out, 1.0F, dy_ro, out, w_oi, in,
         accumulate_dx ? 1.0F : 0.0F, dx_ri, in);
  }
  if (has_dw && in > 0) {
    gemm_fused({.m = out,
                .n = in,
                .k = rows,
                .alpha = 1.0F,
                .a = {dy_ro, out, Transpose::yes},
                .b = {x_ri, in, Transpose::no},
                .beta = 1.0F,
                .c = dw_oi,
                .ldc = in,
                .row_sums = db_o});
  } else if (db_o != nullptr) {
    add_row_sum(db_o, dy_ro, rows, out);
  }
}

}  // namespace trib::ops
