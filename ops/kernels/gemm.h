// Matrix products, split over the compute threads: by instructions of our own where the processor
// has AVX-512, else over OpenBLAS.
#pragma once

#include <cstdint>

#include "ops/base/float_ptr.h"

namespace trib::ops {

enum class Transpose : bool { no = false, yes = true };

/// c_mn = alpha * op(a)_mk * op(b)_kn + beta * c_mn, row-major, leading dimensions in elements.
///
/// a and b are both float32 or both bfloat16, c is float32 or of their type; sums are float32. A
/// bfloat16 c needs beta 0.
///
/// The product is cut into pieces that depend on the shape alone and run in parallel_for, each on
/// one thread (see require_single_threaded_blas), so the result does not depend on the number of
/// threads. It does depend on the processor: sums are taken in another order by other instructions.
/// Extents of what OpenBLAS computes must fit its 32-bit integers (RuntimeError).
void gemm(Transpose trans_a, Transpose trans_b, std::int64_t m, std::int64_t n, std::int64_t k,
          float alpha, ConstFloatPtr a, std::int64_t lda, ConstFloatPtr b, std::int64_t ldb,
          float beta, FloatPtr c, std::int64_t ldc);

/// The same on the calling thread alone: for use inside a parallel_for.
void gemm_serial(Transpose trans_a, Transpose trans_b, std::int64_t m, std::int64_t n,
                 std::int64_t k, float alpha, ConstFloatPtr a, std::int64_t lda, ConstFloatPtr b,
                 std::int64_t ldb, float beta, FloatPtr c, std::int64_t ldc);

/// Set OpenBLAS to one thread for the whole process; throws RuntimeError if it refuses. Call once
/// before the first gemm (gemm does so itself).
void require_single_threaded_blas();

/// "OpenBLAS 0.3.21 ... Haswell": configuration and the core whose kernels run.
const char* blas_description();

/// "float32: own AVX-512, bfloat16: own AVX512_BF16": what multiplies on this processor.
const char* gemm_description();

/// Floating-point operations done by gemm and gemm_serial in this process so far (2*m*n*k a call).
std::int64_t gemm_flops();
/// Count operations of products done elsewhere.
void add_gemm_flops(std::int64_t flops);

}  // namespace trib::ops
