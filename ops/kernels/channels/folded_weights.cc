#include "ops/kernels/channels/folded_weights.h"

#include "ops/kernels/vector/quarter_transpose.h"

namespace trib::ops {
namespace {

using namespace simd;

constexpr std::int64_t kFeatures = 16;
constexpr std::int64_t kPixels = 4;

// The quarter number `i` of x, a constant where the loop is unrolled.
inline Float4 quarter(const Float16& x, int i) {
  return load<Float4>(reinterpret_cast<const float*>(&x) + 4 * i);
}

// Call body(d, p, pixels p to p + 3 of feature d) as far as whole vectors go.
template <class Body>
inline void for_quarters(const float* x_pd, std::int64_t pixels, std::int64_t dim,
                         const Body& body) {
  for (std::int64_t d = 0; d + kFeatures <= dim; d += kFeatures) {
    for (std::int64_t p = 0; p + kPixels <= pixels; p += kPixels) {
      Float16 a[4];
      for (int i = 0; i < 4; ++i) a[i] = load<Float16>(x_pd + (p + i) * dim + d);
      transpose_quarters(a[0], a[1], a[2], a[3]);
      for (int q = 0; q < 4; ++q) {
        for (int i = 0; i < 4; ++i) body(d + 4 * q + i, p, quarter(a[i], q));
      }
    }
  }
}

// Call body(d, p, pixel p of feature d) for the rest.
template <class Body>
inline void for_rest(const float* x_pd, std::int64_t pixels, std::int64_t dim, const Body& body) {
  const std::int64_t whole_p = pixels / kPixels * kPixels, whole_d = dim / kFeatures * kFeatures;
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t d = p < whole_p ? whole_d : 0; d < dim; ++d) body(d, p, x_pd[p * dim + d]);
  }
}

}  // namespace

void fold_channel(float* folded_pd, const float* weights_dp, float factor, std::int64_t pixels,
                  std::int64_t dim) {
  const std::int64_t whole_p = pixels / kPixels * kPixels, whole_d = dim / kFeatures * kFeatures;
  for (std::int64_t d = 0; d < whole_d; d += kFeatures) {
    transpose_rows(folded_pd + d, dim, weights_dp + d * pixels, pixels, whole_p,
                   [=](const Float16& x) { return x * factor; });
  }
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t d = p < whole_p ? whole_d : 0; d < dim; ++d) {
      folded_pd[p * dim + d] = factor * weights_dp[d * pixels + p];
    }
  }
}

float unfold_channel(float* d_weights_dp, const float* d_folded_pd, const float* weights_dp,
                     float factor, std::int64_t pixels, std::int64_t dim) {
  Float4 sums{};
  for_quarters(d_folded_pd, pixels, dim, [&](std::int64_t d, std::int64_t p, const Float4& x) {
    const std::int64_t at = d * pixels + p;
    sums += x * load<Float4>(weights_dp + at);
    store(d_weights_dp + at, load<Float4>(d_weights_dp + at) + factor * x);
  });
  float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  for_rest(d_folded_pd, pixels, dim, [&](std::int64_t d, std::int64_t p, float x) {
    sum += x * weights_dp[d * pixels + p];
    d_weights_dp[d * pixels + p] += factor * x;
  });
  return sum;
}

void unfold_channel(float* d_weights_dp, const float* d_folded_pd, std::int64_t pixels,
                    std::int64_t dim) {
  for_quarters(d_folded_pd, pixels, dim, [&](std::int64_t d, std::int64_t p, const Float4& x) {
    float* to = d_weights_dp + d * pixels + p;
    store(to, load<Float4>(to) + x);
  });
  for_rest(d_folded_pd, pixels, dim,
           [&](std::int64_t d, std::int64_t p, float x) { d_weights_dp[d * pixels + p] += x; });
}

}  // namespace trib::ops
