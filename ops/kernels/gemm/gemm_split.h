// How a product is cut into pieces that run in parallel. Private to ops/kernels.
#pragma once

#include <cstdint>

#include "ops/kernels/gemm/gemm_product.h"

namespace trib::ops {

/// `rows` x `columns` parts of the plane times `slices` of k. From the product's shape and layout
/// alone, never from the number of threads.
struct GemmSplit {
  std::int64_t rows = 1, columns = 1, slices = 1;

  explicit GemmSplit(const GemmProduct& p);

  std::int64_t pieces() const { return rows * columns * slices; }

  struct Piece {
    GemmProduct product;
    std::int64_t row, column;  // its first in p.c
    std::int64_t slice;
  };
  /// Piece i of p, with its place in p.c for a result whatever its slice.
  Piece piece(const GemmProduct& p, std::int64_t i) const;
};

}  // namespace trib::ops
