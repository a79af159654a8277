// A matrix product as the back ends of gemm take it. Private to ops/kernels.
#pragma once

#include <cstdint>

#include "ops/base/float_ptr.h"
#include "ops/kernels/gemm.h"

namespace trib::ops {

struct GemmOperand {
  ConstFloatPtr data;
  std::int64_t ld;
  Transpose trans;

  // The part that begins at (row, column) of op(matrix).
  GemmOperand at(std::int64_t row, std::int64_t column) const {
    return {data + (trans == Transpose::no ? row * ld + column : column * ld + row), ld, trans};
  }
};

/// alpha * a_mk * b_kn, both operands of one type.
struct GemmProduct {
  std::int64_t m, n, k;
  float alpha;
  GemmOperand a, b;

  std::int64_t flops() const { return 2 * m * n * k; }
};

/// c_mn = product + beta * c_mn on the calling thread, of bfloat16 operands by sgemm on blocks
/// converted to float32; a bfloat16 c needs beta 0.
void gemm_bf16_portable(const GemmProduct& p, float beta, FloatPtr c_mn, std::int64_t ldc);

/// Of float32 operands, by OpenBLAS.
void gemm_f32_blas(const GemmProduct& p, float beta, float* c_mn, std::int64_t ldc);

}  // namespace trib::ops
