// A matrix product as the back ends of gemm take it, each on the calling thread alone. Private to
// ops/kernels.
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

/// c_mn = alpha * a_mk * b_kn + beta * c_mn, and bias_n on every row unless null. Unless null,
/// row_sums_m += the sums of the rows of op(a), which must be transposed: a product that packs them
/// has them at hand. The operands are of one type; a bfloat16 c needs beta 0.
struct GemmProduct {
  std::int64_t m, n, k;
  float alpha;
  GemmOperand a, b;
  float beta;
  FloatPtr c;
  std::int64_t ldc;
  const float* bias = nullptr;
  float* row_sums = nullptr;

  double flops() const {
    return 2 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
  /// Each operand counted once, a result added to twice.
  double bytes() const {
    const auto operand = static_cast<double>(a.data.element_bytes()) * static_cast<double>(k);
    const auto result = static_cast<double>(c.element_bytes()) * static_cast<double>(m);
    return operand * static_cast<double>(m + n) +
           result * static_cast<double>(n) * (beta == 0.0F ? 1 : 2);
  }
  /// The part of `rows` x `columns` that begins there, of all of k.
  GemmProduct part(std::int64_t row, std::int64_t rows, std::int64_t column,
                   std::int64_t columns) const {
    GemmProduct p = *this;
    p.m = rows;
    p.n = columns;
    p.a = a.at(row, 0);
    p.b = b.at(0, column);
    p.c = c + (row * ldc + column);
    if (bias != nullptr) p.bias = bias + column;
    // Each row is counted by one part.
    if (row_sums != nullptr) p.row_sums = column == 0 ? row_sums + row : nullptr;
    return p;
  }
};

/// Of float32 operands, by OpenBLAS. Leaves row_sums alone, as the next does.
void gemm_f32_blas(const GemmProduct& p);

/// Of bfloat16 operands, by float32 products of blocks converted.
void gemm_bf16_portable(const GemmProduct& p);

/// By whichever back end is best for these types on this processor.
void gemm_tile(const GemmProduct& p);

}  // namespace trib::ops
