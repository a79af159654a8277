#include <algorithm>
#include <memory>

#include "ops/kernels/gemm/gemm_product.h"

namespace trib::ops {
namespace {

constexpr std::int64_t kBlock = 256;

// Three blocks of float32, two operands and a result. Not thread_scratch: callers of gemm_serial
// keep their own there.
float* block_scratch() {
  thread_local std::unique_ptr<float[]> memory;
  if (memory == nullptr) memory.reset(new float[3 * kBlock * kBlock]);
  return memory.get();
}

template <class To, class From>
void convert_rows(To* to, std::int64_t ld_to, const From* from, std::int64_t ld_from,
                  std::int64_t rows, std::int64_t columns) {
  for (std::int64_t r = 0; r < rows; ++r) {
    To* to_row = to + r * ld_to;
    const From* from_row = from + r * ld_from;
#pragma omp simd
    for (std::int64_t i = 0; i < columns; ++i) to_row[i] = To(static_cast<float>(from_row[i]));
  }
}

// A rows x columns part of op(matrix), as it lies in memory.
GemmOperand converted(float* to, const GemmOperand& from, std::int64_t rows, std::int64_t columns) {
  if (from.trans == Transpose::yes) std::swap(rows, columns);
  convert_rows(to, columns, from.data.as<BFloat16>(), from.ld, rows, columns);
  return {to, columns, from.trans};
}

}  // namespace

void gemm_bf16_portable(const GemmProduct& p) {
  float* const a_block = block_scratch();
  float* const b_block = a_block + kBlock * kBlock;
  float* const c_block = b_block + kBlock * kBlock;
  for (std::int64_t n0 = 0; n0 < p.n; n0 += kBlock) {
    for (std::int64_t m0 = 0; m0 < p.m; m0 += kBlock) {
      const std::int64_t m = std::min(kBlock, p.m - m0), n = std::min(kBlock, p.n - n0);
      GemmProduct whole = p.part(m0, m, n0, n);
      whole.row_sums = nullptr;
      GemmProduct part = whole;
      if (whole.c.is_bf16()) {
        part.c = c_block;
        part.ldc = n;
      }
      for (std::int64_t k0 = 0; k0 < p.k; k0 += kBlock) {
        part.k = std::min(kBlock, p.k - k0);
        part.a = converted(a_block, whole.a.at(0, k0), m, part.k);
        part.b = converted(b_block, whole.b.at(k0, 0), part.k, n);
        gemm_tile(part);
        part.beta = 1.0F;
        part.bias = nullptr;
      }
      if (whole.c.is_bf16()) {
        convert_rows(whole.c.as<BFloat16>(), p.ldc, part.c.as<float>(), part.ldc, m, n);
      }
    }
  }
}

}  // namespace trib::ops
