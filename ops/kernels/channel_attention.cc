#include "ops/kernels/channel_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/base/parallel.h"
#include "ops/kernels/known_extent.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector_math.h"

// Keys and values are far larger than anything else here: each is read once, channel after channel,
// and all else of a position stays in the cache.

namespace trib::ops {
namespace {

// a = softmax over channels of the scaled scores of one position.
template <class Extent>
void attention_weights(float* a_hc, const float* q_hd, const float* k_c2hd, std::int64_t channels,
                       std::int64_t heads, Extent head_dim) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  const std::int64_t stride = 2 * heads * head_dim;
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t h = 0; h < heads; ++h) {
      a_hc[h * channels + c] =
          scale * dot(q_hd + h * head_dim, k_c2hd + c * stride + h * head_dim, head_dim);
    }
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    float* a = a_hc + h * channels;
    const float largest = max_of(a, channels, -std::numeric_limits<float>::infinity());
    const float inverse = 1.0F / exp_and_sum(a, largest, channels);
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) a[c] *= inverse;
  }
}

template <class Extent>
void forward_position(float* out_hd, float* a_hc, const float* q_hd, const float* kv_c2hd,
                      std::int64_t channels, std::int64_t heads, Extent head_dim) {
  const std::int64_t width = heads * head_dim;
  attention_weights(a_hc, q_hd, kv_c2hd, channels, heads, head_dim);
  std::fill_n(out_hd, width, 0.0F);
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* v_hd = kv_c2hd + c * 2 * width + width;
    for (std::int64_t h = 0; h < heads; ++h) {
      const float a = a_hc[h * channels + c];
#pragma omp simd
      for (std::int64_t d = h * head_dim; d < h * head_dim + head_dim; ++d)
        out_hd[d] += a * v_hd[d];
    }
  }
}

// ds_hc is scratch for the gradient of the scores.
template <class Extent>
void backward_position(float* dq_hd, float* dkv_c2hd, float* ds_hc, const float* dout_hd,
                       const float* a_hc, const float* q_hd, const float* kv_c2hd,
                       std::int64_t channels, std::int64_t heads, Extent head_dim) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  const std::int64_t width = heads * head_dim;
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* v_hd = kv_c2hd + c * 2 * width + width;
    float* dv_hd = dkv_c2hd + c * 2 * width + width;
    for (std::int64_t h = 0; h < heads; ++h) {
      const float a = a_hc[h * channels + c];
      float da = 0;
#pragma omp simd reduction(+ : da)
      for (std::int64_t d = h * head_dim; d < h * head_dim + head_dim; ++d) {
        da += dout_hd[d] * v_hd[d];
        dv_hd[d] = a * dout_hd[d];
      }
      ds_hc[h * channels + c] = da;
    }
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    const float* a = a_hc + h * channels;
    float* ds = ds_hc + h * channels;
    const float mean = dot(a, ds, channels);
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) ds[c] = scale * a[c] * (ds[c] - mean);
  }
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* k_hd = kv_c2hd + c * 2 * width;
    float* dk_hd = dkv_c2hd + c * 2 * width;
    for (std::int64_t h = 0; h < heads; ++h) {
      const float ds = ds_hc[h * channels + c];
#pragma omp simd
      for (std::int64_t d = h * head_dim; d < h * head_dim + head_dim; ++d) {
        dk_hd[d] = ds * q_hd[d];
        dq_hd[d] += ds * k_hd[d];
      }
    }
  }
}

}  // namespace

void channel_attention_forward(float* out_rhd, float* a_rhc, const float* q_hd,
                               const float* kv_rc2hd, std::int64_t rows, std::int64_t channels,
                               std::int64_t heads, std::int64_t head_dim) {
  const std::int64_t width = heads * head_dim;
  const std::int64_t kv_size = channels * 2 * width;
  with_known_extent<16, 32, 64>(head_dim, [&](auto extent) {
    parallel_for(rows, row_grain(kv_size), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        forward_position(out_rhd + r * width, a_rhc + r * heads * channels, q_hd,
                         kv_rc2hd + r * kv_size, channels, heads, extent);
      }
    });
  });
}

void channel_attention_backward(float* dq_hd, float* dkv_rc2hd, const float* dout_rhd,
                                const float* a_rhc, const float* q_hd, const float* kv_rc2hd,
                                std::int64_t rows, std::int64_t channels, std::int64_t heads,
                                std::int64_t head_dim) {
  const std::int64_t width = heads * head_dim;
  const std::int64_t kv_size = channels * 2 * width;
  with_known_extent<16, 32, 64>(head_dim, [&](auto extent) {
    reduce_vector(rows, row_grain(kv_size), dq_hd, width,
                  [=](std::int64_t begin, std::int64_t end, float* dq_sum_hd) {
                    std::vector<float> ds_hc(static_cast<std::size_t>(heads * channels));
                    for (std::int64_t r = begin; r < end; ++r) {
                      backward_position(dq_sum_hd, dkv_rc2hd + r * kv_size, ds_hc.data(),
                                        dout_rhd + r * width, a_rhc + r * heads * channels, q_hd,
                                        kv_rc2hd + r * kv_size, channels, heads, extent);
                    }
                  });
  });
}

void channel_linear_forward(float* out_rd, const float* tokens_rcd, const float* w_c, float bias,
                            std::int64_t rows, std::int64_t channels, std::int64_t dim) {
  parallel_for(rows, row_grain(channels * dim), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* out = out_rd + r * dim;
      std::fill_n(out, dim, bias);
      for (std::int64_t c = 0; c < channels; ++c) {
        const float* token = tokens_rcd + (r * channels + c) * dim;
        const float w = w_c[c];
#pragma omp simd
        for (std::int64_t i = 0; i < dim; ++i) out[i] += w * token[i];
      }
    }
  });
}

void channel_linear_backward(float* dtokens_rcd, float* dw_c, float* dbias, const float* dout_rd,
                             const float* tokens_rcd, const float* w_c, std::int64_t rows,
                             std::int64_t channels, std::int64_t dim) {
  // One reduction for both: the weights' gradients, then the bias's.
  std::vector<float> sums(static_cast<std::size_t>(channels + 1));
  reduce_vector(rows, row_grain(channels * dim), sums.data(), channels + 1,
                [=](std::int64_t begin, std::int64_t end, float* sum) {
                  for (std::int64_t r = begin; r < end; ++r) {
                    const float* dout = dout_rd + r * dim;
                    for (std::int64_t c = 0; c < channels; ++c) {
                      const float* token = tokens_rcd + (r * channels + c) * dim;
                      float* dtoken = dtokens_rcd + (r * channels + c) * dim;
                      const float w = w_c[c];
                      float dw = 0;
#pragma omp simd reduction(+ : dw)
                      for (std::int64_t i = 0; i < dim; ++i) {
                        dw += dout[i] * token[i];
                        dtoken[i] = w * dout[i];
                      }
                      sum[c] += dw;
                    }
                    float db = 0;
#pragma omp simd reduction(+ : db)
                    for (std::int64_t i = 0; i < dim; ++i) db += dout[i];
                    sum[channels] += db;
                  }
                });
  for (std::int64_t c = 0; c < channels; ++c) dw_c[c] += sums[static_cast<std::size_t>(c)];
  *dbias += sums.back();
}

}  // namespace trib::ops
