// Matrix products by vector instructions of our own. Private to ops/kernels.
#pragma once

#include "ops/kernels/gemm/gemm_product.h"

namespace trib::ops {

/// Whether this processor has the instructions for float32 operands (AVX-512), and for bfloat16
/// (AVX512_BF16).
bool has_gemm_avx512_f32();
bool has_gemm_avx512_bf16();

/// On the calling thread. Sums of bfloat16 products are float32, subnormal operands count as zero.
void gemm_avx512(const GemmProduct& p);

/// Rows and columns of a register tile: parts of a product are best cut on multiples of them.
inline constexpr std::int64_t kGemmTileRows = 12;
inline constexpr std::int64_t kGemmTileColumns = 32;

/// Whether the rows of op(a) are packed before the product, which costs time.
bool gemm_avx512_packs_a(const GemmProduct& p);

}  // namespace trib::ops
