#include "ops/kernels/gemm/gemm_split.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "ops/kernels/gemm/gemm_avx512.h"

namespace trib::ops {
namespace {

// Pieces are at most so long, and more than half of it: long beside the cost of starting one.
constexpr double kPieceFlops = 6 << 20;
// Pieces enough to even out threads that start late or are disturbed, ...
constexpr std::int64_t kEnoughPieces = 24;
// ... and more only if they are as long as this.
constexpr double kLongPieceFlops = 128 << 20;
constexpr std::int64_t kMaxPieces = 256;
constexpr std::int64_t kMinSlice = 256;

// Costs in multiply-adds of one element, by the shapes of bench_kernels: copying an element of an
// operand to where the kernel wants it, writing and adding an element of a slice.
constexpr double kPackCost = 8;
constexpr double kSliceCost = 12;

std::int64_t ceil_div(std::int64_t value, std::int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

// Boundary number i of `extent` cut into `parts`, on a multiple of `step` elements.
std::int64_t boundary(std::int64_t extent, std::int64_t parts, std::int64_t step, std::int64_t i) {
  return i == parts ? extent : std::min(ceil_div(extent, step) * i / parts * step, extent);
}

std::int64_t wanted_pieces(double flops) {
  const double few = std::min(std::ceil(flops / kPieceFlops), static_cast<double>(kEnoughPieces));
  const double many = std::min(flops / kLongPieceFlops, static_cast<double>(kMaxPieces));
  return static_cast<std::int64_t>(std::max(few, many));
}

// Multiply-adds, and what else costs as much: the largest piece, as often as there are pieces.
double cost(const GemmProduct& p, bool packs_a, std::int64_t wanted, std::int64_t rows,
            std::int64_t columns, std::int64_t slices) {
  const std::int64_t m = ceil_div(ceil_div(p.m, kGemmTileRows), rows) * kGemmTileRows;
  const std::int64_t n = ceil_div(ceil_div(p.n, kGemmTileColumns), columns) * kGemmTileColumns;
  const std::int64_t k = ceil_div(p.k, slices);
  const auto pieces = static_cast<double>(rows * columns * slices);
  double piece = static_cast<double>(m * n) * static_cast<double>(k) +
                 kPackCost * static_cast<double>((packs_a ? m + n : n) * k);
  if (slices > 1) piece += kSliceCost * static_cast<double>(m * n);
  // Too few pieces leave threads idle.
  return piece * std::max(pieces, 0.5 * (pieces + static_cast<double>(wanted)));
}

}  // namespace

GemmSplit::GemmSplit(const GemmProduct& p) {
  const std::int64_t wanted = wanted_pieces(p.flops());
  if (wanted < 2) return;
  const std::int64_t most_rows = ceil_div(p.m, kGemmTileRows);
  const std::int64_t most_columns = ceil_div(p.n, kGemmTileColumns);
  const bool packs_a = gemm_avx512_packs_a(p);
  double least = std::numeric_limits<double>::infinity();
  for (const std::int64_t s : {1, 2, 4, 8, 16, 32}) {
    if (s > 1 && p.k / s < kMinSlice) break;
    for (const std::int64_t r : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256}) {
      if (r > most_rows || r * s > 2 * wanted) break;
      const std::int64_t c = std::min(ceil_div(wanted, r * s), most_columns);
      const double candidate = cost(p, packs_a, wanted, r, c, s);
      if (candidate < least) {
        least = candidate;
        rows = r;
        columns = c;
        slices = s;
      }
    }
  }
}

GemmSplit::Piece GemmSplit::piece(const GemmProduct& p, std::int64_t i) const {
  // Neighbours share rows of a, or all of a slice, so that one thread finds them in its cache.
  const std::int64_t slice = i / (rows * columns), row = i / columns % rows, column = i % columns;
  const std::int64_t m0 = boundary(p.m, rows, kGemmTileRows, row);
  const std::int64_t m1 = boundary(p.m, rows, kGemmTileRows, row + 1);
  const std::int64_t n0 = boundary(p.n, columns, kGemmTileColumns, column);
  const std::int64_t n1 = boundary(p.n, columns, kGemmTileColumns, column + 1);
  const std::int64_t k0 = boundary(p.k, slices, 16, slice);
  GemmProduct part = p.part(m0, m1 - m0, n0, n1 - n0);
  part.k = boundary(p.k, slices, 16, slice + 1) - k0;
  part.a = part.a.at(0, k0);
  part.b = part.b.at(k0, 0);
  return {part, m0, n0, slice};
}

}  // namespace trib::ops
