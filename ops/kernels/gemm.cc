#include "ops/kernels/gemm.h"

#include <algorithm>
#include <atomic>
#include <string>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/gemm/gemm_avx512.h"
#include "ops/kernels/gemm/gemm_fused.h"
#include "ops/kernels/gemm/gemm_onednn.h"
#include "ops/kernels/gemm/gemm_product.h"
#include "ops/kernels/gemm/gemm_split.h"
#include "ops/kernels/thread_scratch.h"
#include "ops/kernels/vector/gelu.h"

namespace trib::ops {
namespace {

std::atomic<std::int64_t> flops_done{0};

void count_flops(const GemmProduct& p) {
  flops_done.fetch_add(2 * p.m * p.n * p.k, std::memory_order_relaxed);
}

// c = beta * c + sum + bias of one row, without sum if it is null.
void finish_row(const GemmProduct& p, std::int64_t row, const float* sum) {
  with_float_type(p.c + row * p.ldc, [&]<class T>(T* c) {
#pragma omp simd
    for (std::int64_t j = 0; j < p.n; ++j) {
      float value = sum == nullptr ? 0.0F : sum[j];
      if (p.bias != nullptr) value += p.bias[j];
      if (p.beta != 0.0F) value += p.beta * static_cast<float>(c[j]);
      c[j] = T(value);
    }
  });
}

// Of a part just made and still in the cache, that begins there.
void activate(const GemmProduct& p, const GeluTarget& gelu, std::int64_t row, std::int64_t column) {
  if (gelu.to_mn == nullptr) return;
  with_float_type(p.c, [&]<class T>(const T* c) {
    T* const to = gelu.to_mn.as<T>() + row * gelu.ld + column;
    for (std::int64_t i = 0; i < p.m; ++i) gelu_range(to + i * gelu.ld, c + i * p.ldc, p.n);
  });
}

void add_row_sums(const GemmProduct& p) {
  with_float_type(p.a.data, [&]<class T>(const T* a) {
    for (std::int64_t l = 0; l < p.k; ++l) {
#pragma omp simd
      for (std::int64_t i = 0; i < p.m; ++i) p.row_sums[i] += static_cast<float>(a[i]);
      a += p.a.ld;
    }
  });
}

// Slices of k: each is a product of its own, their sum is taken in order. The first of them goes to
// c if that is float32.
void run_slices(const GemmProduct& p, const GemmSplit& split, const GeluTarget& gelu) {
  const std::int64_t plane = p.m * p.n;
  const std::int64_t in_place = p.c.is_bf16() ? 0 : 1, planes = split.slices - in_place;
  const ScratchScope scratch((plane + p.m) * planes);
  float* const sums = scratch.data();
  float* const row_sums = sums + plane * planes;
  if (p.row_sums != nullptr) std::fill_n(row_sums, p.m * planes, 0.0F);
  parallel_for(split.pieces(), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      GemmSplit::Piece piece = split.piece(p, i);
      if (piece.slice >= in_place) {
        GemmProduct& part = piece.product;
        part.c = sums + ((piece.slice - in_place) * plane + piece.row * p.n + piece.column);
        part.ldc = p.n;
        part.beta = 0.0F;
        part.bias = nullptr;
        if (part.row_sums != nullptr) {
          part.row_sums = row_sums + ((piece.slice - in_place) * p.m + piece.row);
        }
      }
      gemm_tile(piece.product);
    }
  });
  GemmProduct rest = p;
  if (in_place == 1) {
    rest.beta = 1.0F;
    rest.bias = nullptr;
  }
  parallel_for(p.m, std::max<std::int64_t>(65536 / (p.n * split.slices), 1),
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t row = first; row < last; ++row) {
                   float* sum = sums + row * p.n;
                   for (std::int64_t i = 1; i < planes; ++i) {
                     const float* next = sum + i * plane;
#pragma omp simd
                     for (std::int64_t j = 0; j < p.n; ++j) sum[j] += next[j];
                   }
                   finish_row(rest, row, sum);
                   for (std::int64_t i = 0; p.row_sums != nullptr && i < planes; ++i) {
                     p.row_sums[row] += row_sums[i * p.m + row];
                   }
                 }
                 activate(p.part(first, last - first, 0, p.n), gelu, first, 0);
               });
}

}  // namespace

namespace {

void check_types(const GemmProduct& p) {
  const bool is_bf16 = p.a.data.is_bf16();
  if (p.b.data.is_bf16() == is_bf16 && (!p.c.is_bf16() || (is_bf16 && p.beta == 0.0F))) return;
  throw RuntimeError(fmt::format(
      "gemm: expected operands of one type, and a result of float32 or, without addend, of theirs; "
      "found {}, {} and {}, beta {}",
      name_of(p.a.data.dtype()), name_of(p.b.data.dtype()), name_of(p.c.dtype()), p.beta));
}

}  // namespace

void gemm_tile(const GemmProduct& p) {
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {
    // Without an inner axis the product is zero.
    for (std::int64_t i = 0; i < p.m; ++i) finish_row(p, i, nullptr);
    return;
  }
  // Packing does not pay for so few rows or columns; OpenBLAS does without.
  constexpr std::int64_t kFew = 4;
  const bool has_own = p.a.data.is_bf16() ? has_gemm_avx512_bf16() && !is_onednn_faster()
                                          : has_gemm_avx512_f32() && p.m >= kFew && p.n >= kFew;
  if (has_own) return gemm_avx512(p);
  if (p.row_sums != nullptr) add_row_sums(p);
  if (!p.a.data.is_bf16()) return gemm_f32_blas(p);
  if (is_onednn_faster() && gemm_bf16_onednn(p)) return;
  if (has_gemm_avx512_bf16()) {
    GemmProduct without_sums = p;
    without_sums.row_sums = nullptr;  // which have been taken
    return gemm_avx512(without_sums);
  }
  gemm_bf16_portable(p);
}

void gemm_fused(const GemmProduct& p, const GeluTarget& gelu) {
  require_single_threaded_blas();
  check_types(p);
  count_flops(p);
  const GemmSplit split(p);
  if (split.slices > 1) return run_slices(p, split, gelu);
  parallel_for(split.pieces(), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const GemmSplit::Piece piece = split.piece(p, i);
      gemm_tile(piece.product);
      activate(piece.product, gelu, piece.row, piece.column);
    }
  });
}

std::int64_t gemm_flops() {
  return flops_done.load(std::memory_order_relaxed);
}

void add_gemm_flops(std::int64_t flops) {
  flops_done.fetch_add(flops, std::memory_order_relaxed);
}

const char* gemm_description() {
  static const std::string description =
      std::string(has_gemm_avx512_f32() ? "float32: own AVX-512" : "float32: OpenBLAS") +
      ", bfloat16: " +
      (is_onednn_faster()       ? onednn_description()
       : has_gemm_avx512_bf16() ? "own AVX512_BF16"
                                : "converted to float32");
  return description.c_str();
}

void gemm(Transpose trans_a, Transpose trans_b, std::int64_t m, std::int64_t n, std::int64_t k,
          float alpha, ConstFloatPtr a, std::int64_t lda, ConstFloatPtr b, std::int64_t ldb,
          float beta, FloatPtr c, std::int64_t ldc) {
  const GemmProduct p{m, n, k, alpha, {a, lda, trans_a}, {b, ldb, trans_b}, beta, c, ldc};
  const KernelScope scope("gemm", {m, n, k}, p.flops(), p.bytes());
  gemm_fused(p);
}

void gemm_serial(Transpose trans_a, Transpose trans_b, std::int64_t m, std::int64_t n,
                 std::int64_t k, float alpha, ConstFloatPtr a, std::int64_t lda, ConstFloatPtr b,
                 std::int64_t ldb, float beta, FloatPtr c, std::int64_t ldc) {
  require_single_threaded_blas();
  const GemmProduct p{m, n, k, alpha, {a, lda, trans_a}, {b, ldb, trans_b}, beta, c, ldc};
  check_types(p);
  count_flops(p);
  gemm_tile(p);
}

}  // namespace trib::ops
