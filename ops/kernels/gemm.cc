#include "ops/kernels/gemm.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include <cblas.h>
#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/parallel.h"
#include "ops/kernels/gemm_product.h"

namespace trib::ops {
namespace {

// A task must be long beside the cost of starting it (about a microsecond) and its tile broad
// enough that packing the operands does not show.
constexpr std::int64_t kTileFlops = std::int64_t{8} << 20;
constexpr std::int64_t kMinTileEdge = 128;
constexpr std::int64_t kMaxTiles = 256;
// A plane of fewer tiles than this is cut along k as well, if k is long.
constexpr std::int64_t kFewTiles = 16;
constexpr std::int64_t kMinSlice = 256;

std::atomic<std::int64_t> flops_done{0};

blasint blas_int(std::int64_t value) {
  if (value < 0 || value > std::numeric_limits<blasint>::max()) {
    throw RuntimeError(
        fmt::format("gemm: expected extents and leading dimensions in [0, {}], "
                    "found {}",
                    std::numeric_limits<blasint>::max(), value));
  }
  return static_cast<blasint>(value);
}

CBLAS_TRANSPOSE blas_transpose(Transpose trans) {
  return trans == Transpose::yes ? CblasTrans : CblasNoTrans;
}

// Without an inner axis the product is zero.
void scale_rows(float beta, float* c, std::int64_t ldc, std::int64_t m, std::int64_t n) {
  for (std::int64_t i = 0; i < m; ++i) {
    float* row = c + i * ldc;
    for (std::int64_t j = 0; j < n; ++j) row[j] = beta == 0.0F ? 0.0F : beta * row[j];
  }
}

// c = product + beta * c on the calling thread.
void run_product(const GemmProduct& p, float beta, FloatPtr c, std::int64_t ldc) {
  if (p.m == 0 || p.n == 0) return;
  if (p.a.data.is_bf16()) {
    gemm_bf16_portable(p, beta, c, ldc);
  } else {
    gemm_f32_blas(p, beta, c.as<float>(), ldc);
  }
}

// How the work is cut: `rows` x `columns` tiles of the plane times `slices` of k. From the shape
// alone, never from the number of threads.
struct Cut {
  std::int64_t rows = 1, columns = 1, slices = 1;

  explicit Cut(const GemmProduct& p) {
    const std::int64_t target = std::max(kTileFlops, p.flops() / kMaxTiles);
    while (p.flops() / (rows * columns) > target) {
      const std::int64_t tile_m = p.m / rows, tile_n = p.n / columns;
      if (std::max(tile_m, tile_n) < 2 * kMinTileEdge) break;
      (tile_m >= tile_n ? rows : columns) *= 2;
    }
    const std::int64_t tiles = rows * columns;
    if (tiles < kFewTiles) {
      slices = std::min({kFewTiles / tiles, p.k / kMinSlice, p.flops() / tiles / kTileFlops});
      slices = std::max<std::int64_t>(slices, 1);
    }
  }
  std::int64_t pieces() const { return rows * columns * slices; }
};

// Boundary number i of `extent` cut into `parts`, on a multiple of 16 elements (a cache line).
std::int64_t boundary(std::int64_t extent, std::int64_t parts, std::int64_t i) {
  return i == parts ? extent : i * extent / parts / 16 * 16;
}

// Piece number `piece` of the product, added to beta * c at its place.
void run_piece(const GemmProduct& p, const Cut& cut, std::int64_t piece, float beta, FloatPtr c,
               std::int64_t ldc) {
  const std::int64_t slice = piece % cut.slices;
  const std::int64_t column = piece / cut.slices % cut.columns;
  const std::int64_t row = piece / cut.slices / cut.columns;
  const std::int64_t m0 = boundary(p.m, cut.rows, row);
  const std::int64_t n0 = boundary(p.n, cut.columns, column);
  const std::int64_t k0 = boundary(p.k, cut.slices, slice);
  GemmProduct part = p;
  part.m = boundary(p.m, cut.rows, row + 1) - m0;
  part.n = boundary(p.n, cut.columns, column + 1) - n0;
  part.k = boundary(p.k, cut.slices, slice + 1) - k0;
  part.a = p.a.at(m0, k0);
  part.b = p.b.at(k0, n0);
  run_product(part, beta, c + (m0 * ldc + n0), ldc);
}

// Slices of k: each is a product of its own, their sum is taken in order.
void run_slices(const GemmProduct& p, const Cut& cut, float beta, FloatPtr c, std::int64_t ldc) {
  const std::int64_t plane = p.m * p.n;
  // Kept from call to call: no task of an outer loop can come in between, see parallel_for.
  thread_local std::vector<float> partials;
  partials.resize(std::max(partials.size(), static_cast<std::size_t>(plane * cut.slices)));
  float* const sums = partials.data();
  parallel_for(cut.pieces(), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t piece = first; piece < last; ++piece) {
      run_piece(p, cut, piece, 0.0F, sums + piece % cut.slices * plane, p.n);
    }
  });
  parallel_for(p.m, std::max<std::int64_t>(65536 / (p.n * cut.slices), 1),
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t row = first; row < last; ++row) {
                   float* sum = sums + row * p.n;
                   for (std::int64_t slice = 1; slice < cut.slices; ++slice) {
                     const float* next = sum + slice * plane;
#pragma omp simd
                     for (std::int64_t i = 0; i < p.n; ++i) sum[i] += next[i];
                   }
                   with_float_type(c + row * ldc, [&]<class T>(T* c_row) {
                     if (beta == 0.0F) {
#pragma omp simd
                       for (std::int64_t i = 0; i < p.n; ++i) c_row[i] = T(sum[i]);
                     } else {
#pragma omp simd
                       for (std::int64_t i = 0; i < p.n; ++i) {
                         c_row[i] = T(beta * static_cast<float>(c_row[i]) + sum[i]);
                       }
                     }
                   });
                 }
               });
}

}  // namespace

void gemm_f32_blas(const GemmProduct& p, float beta, float* c, std::int64_t ldc) {
  // OpenBLAS refuses leading dimensions of 0, which those of an empty operand may be.
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) return scale_rows(beta, c, ldc, p.m, p.n);
  cblas_sgemm(CblasRowMajor, blas_transpose(p.a.trans), blas_transpose(p.b.trans), blas_int(p.m),
              blas_int(p.n), blas_int(p.k), p.alpha, p.a.data.as<float>(), blas_int(p.a.ld),
              p.b.data.as<float>(), blas_int(p.b.ld), beta, c, blas_int(ldc));
}

void require_single_threaded_blas() {
  static std::once_flag once;
  std::call_once(once, [] {
    openblas_set_num_threads(1);
    if (const int threads = openblas_get_num_threads(); threads != 1) {
      throw RuntimeError(
          fmt::format("OpenBLAS ({}): expected to run with 1 thread, found {}; link its pthread or "
                      "serial build",
                      openblas_get_config(), threads));
    }
  });
}

const char* blas_description() {
  static const std::string description =
      fmt::format("{} {}", openblas_get_config(), openblas_get_corename());
  return description.c_str();
}

std::int64_t gemm_flops() {
  return flops_done.load(std::memory_order_relaxed);
}

void gemm(Transpose trans_a, Transpose trans_b, std::int64_t m, std::int64_t n, std::int64_t k,
          float alpha, ConstFloatPtr a, std::int64_t lda, ConstFloatPtr b, std::int64_t ldb,
          float beta, FloatPtr c, std::int64_t ldc) {
  require_single_threaded_blas();
  const GemmProduct product{m, n, k, alpha, {a, lda, trans_a}, {b, ldb, trans_b}};
  flops_done.fetch_add(product.flops(), std::memory_order_relaxed);
  const Cut cut(product);
  if (cut.slices > 1) {
    run_slices(product, cut, beta, c, ldc);
    return;
  }
  parallel_for(cut.pieces(), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t piece = first; piece < last; ++piece) {
      run_piece(product, cut, piece, beta, c, ldc);
    }
  });
}

void gemm_serial(Transpose trans_a, Transpose trans_b, std::int64_t m, std::int64_t n,
                 std::int64_t k, float alpha, ConstFloatPtr a, std::int64_t lda, ConstFloatPtr b,
                 std::int64_t ldb, float beta, FloatPtr c, std::int64_t ldc) {
  require_single_threaded_blas();
  const GemmProduct product{m, n, k, alpha, {a, lda, trans_a}, {b, ldb, trans_b}};
  flops_done.fetch_add(product.flops(), std::memory_order_relaxed);
  run_product(product, beta, c, ldc);
}

}  // namespace trib::ops
