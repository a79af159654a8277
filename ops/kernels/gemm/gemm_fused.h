// A product with what is done to its result while that is in the cache. Private to ops/kernels.
#pragma once

#include "ops/kernels/gemm/gemm_product.h"

namespace trib::ops {

/// Where gelu(c) of a product goes, of c's type; nowhere if null.
struct GeluTarget {
  FloatPtr to_mn;
  std::int64_t ld = 0;
};

/// On all compute threads; see gemm.
void gemm_fused(const GemmProduct& p, const GeluTarget& gelu = {});

}  // namespace trib::ops
