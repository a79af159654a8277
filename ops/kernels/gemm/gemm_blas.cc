#include <limits>
#include <mutex>
#include <string>

#include <cblas.h>
#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/kernels/gemm/gemm_product.h"

namespace trib::ops {
namespace {

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

}  // namespace

void gemm_f32_blas(const GemmProduct& p) {
  float* const c = p.c.as<float>();
  float beta = p.beta;
  if (p.bias != nullptr) {
    // The product is added to the bias: cheaper than adding the bias to the product, because a
    // product without addend begins by clearing its result anyway.
    for (std::int64_t i = 0; i < p.m; ++i) {
      float* const row = c + i * p.ldc;
      for (std::int64_t j = 0; j < p.n; ++j) {
        row[j] = p.bias[j] + (beta == 0.0F ? 0.0F : beta * row[j]);
      }
    }
    beta = 1.0F;
  }
  cblas_sgemm(CblasRowMajor, blas_transpose(p.a.trans), blas_transpose(p.b.trans), blas_int(p.m),
              blas_int(p.n), blas_int(p.k), p.alpha, p.a.data.as<float>(), blas_int(p.a.ld),
              p.b.data.as<float>(), blas_int(p.b.ld), beta, c, blas_int(p.ldc));
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

}  // namespace trib::ops
