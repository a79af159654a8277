#include "ops/kernels/channel_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <new>

#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/known_extent.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/thread_scratch.h"
#include "ops/kernels/vector/vector_math.h"

// Keys and values are far larger than anything else here and lie side by side, channel after
// channel. The forward reads them once, in the order in which they lie; all else of a position
// stays in the cache.

namespace trib::ops {
namespace {

// Channels whose keys and values are taken together.
constexpr std::int64_t kChannelBlock = 8;

// Ask for the keys or values `count` floats long that will be read kChannelBlock channels later:
// runs of them are too short for the hardware to foresee. The address may lie beyond the end, where
// nothing happens, so it is computed as a number.
inline void prefetch_ahead(const float* x, std::int64_t channel_stride, std::int64_t count) {
  constexpr std::int64_t kCacheLine = 64;
  const auto start = reinterpret_cast<std::uintptr_t>(x) +
                     static_cast<std::uintptr_t>(kChannelBlock * channel_stride) * sizeof(float);
  for (std::int64_t i = 0; i < count * static_cast<std::int64_t>(sizeof(float)); i += kCacheLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(start + static_cast<std::uintptr_t>(i)));
  }
}

// out_d += sum over j of p_j v_jd, rows of v being `stride` apart.
template <class Extent>
void add_weighted(float* out_d, const float* p, const float* v, std::int64_t stride,
                  std::int64_t count, Extent head_dim) {
  std::int64_t j = 0;
  for (; j + 4 <= count; j += 4) {  // four at a time: out is loaded and stored less often
    const float *v0 = v + j * stride, *v1 = v0 + stride, *v2 = v1 + stride, *v3 = v2 + stride;
    const float p0 = p[j], p1 = p[j + 1], p2 = p[j + 2], p3 = p[j + 3];
#pragma omp simd
    for (std::int64_t d = 0; d < head_dim; ++d) {
      out_d[d] += (p0 * v0[d] + p1 * v1[d]) + (p2 * v2[d] + p3 * v3[d]);
    }
  }
  for (; j < count; ++j) {
    const float* v0 = v + j * stride;
    const float p0 = p[j];
#pragma omp simd
    for (std::int64_t d = 0; d < head_dim; ++d) out_d[d] += p0 * v0[d];
  }
}

// The softmax over channels is taken online: `largest` and `sum` of a head go with the channels
// seen so far, and its output is scaled down whenever a larger score comes.
struct RunningSoftmax {
  float largest = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

constexpr std::int64_t kSoftmaxFloats = sizeof(RunningSoftmax) / sizeof(float);

// a_hc holds the scores until the last channel is seen. softmax_h is scratch.
template <class Extent>
void forward_position(float* out_hd, float* a_hc, RunningSoftmax* softmax_h, const float* q_hd,
                      const float* kv_c2hd, std::int64_t channels, std::int64_t heads,
                      Extent head_dim) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  const std::int64_t width = heads * head_dim, stride = 2 * width;
  std::fill_n(softmax_h, heads, RunningSoftmax{});
  std::fill_n(out_hd, width, 0.0F);
  for (std::int64_t c0 = 0; c0 < channels; c0 += kChannelBlock) {
    const std::int64_t block = std::min(kChannelBlock, channels - c0);
    for (std::int64_t c = c0; c < c0 + block; ++c) {
      const float* k_hd = kv_c2hd + c * stride;
      prefetch_ahead(k_hd, stride, stride);
      for (std::int64_t h = 0; h < heads; ++h) {
        a_hc[h * channels + c] = scale * dot(q_hd + h * head_dim, k_hd + h * head_dim, head_dim);
      }
    }
    for (std::int64_t h = 0; h < heads; ++h) {
      RunningSoftmax& softmax = softmax_h[h];
      float* out_d = out_hd + h * head_dim;
      std::array<float, kChannelBlock> p;
      std::copy_n(a_hc + h * channels + c0, block, p.data());
      const float before = softmax.largest;
      softmax.largest = max_of(p.data(), block, before);
      if (softmax.largest > before && c0 > 0) {
        const float shrink = vector_exp(before - softmax.largest);
        softmax.sum *= shrink;
#pragma omp simd
        for (std::int64_t d = 0; d < head_dim; ++d) out_d[d] *= shrink;
      }
      softmax.sum += exp_and_sum(p.data(), softmax.largest, block);
      add_weighted(out_d, p.data(), kv_c2hd + c0 * stride + width + h * head_dim, stride, block,
                   head_dim);
    }
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    const float largest = softmax_h[h].largest;
    const float inverse = channels > 0 ? 1.0F / softmax_h[h].sum : 0.0F;
    float* a = a_hc + h * channels;
    float* out_d = out_hd + h * head_dim;
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) a[c] = vector_exp(a[c] - largest) * inverse;
#pragma omp simd
    for (std::int64_t d = 0; d < head_dim; ++d) out_d[d] *= inverse;
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
    prefetch_ahead(v_hd, 2 * width, width);
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
    prefetch_ahead(k_hd, 2 * width, width);
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
  const KernelScope scope("channel_attention_forward", {rows, channels, heads, head_dim},
                          2.0 * static_cast<double>(rows * kv_size),
                          4.0 * static_cast<double>(rows * (kv_size + channels * heads + width)));
  with_known_extent<16, 32, 64>(head_dim, [&](auto extent) {
    parallel_for(rows, row_grain(kv_size), [=](std::int64_t begin, std::int64_t end) {
      float* const scratch = thread_scratch(heads * kSoftmaxFloats);
      auto* const softmax_h =
          ::new (static_cast<void*>(scratch)) RunningSoftmax[static_cast<std::size_t>(heads)];
      for (std::int64_t r = begin; r < end; ++r) {
        forward_position(out_rhd + r * width, a_rhc + r * heads * channels, softmax_h, q_hd,
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
  const KernelScope scope(
      "channel_attention_backward", {rows, channels, heads, head_dim},
      4.0 * static_cast<double>(rows * kv_size),
      4.0 * static_cast<double>(rows * (2 * kv_size + channels * heads + width)));
  with_known_extent<16, 32, 64>(head_dim, [&](auto extent) {
    reduce_vector(rows, row_grain(kv_size), dq_hd, width,
                  [=](std::int64_t begin, std::int64_t end, float* dq_sum_hd) {
                    float* const ds_hc = thread_scratch(heads * channels);
                    for (std::int64_t r = begin; r < end; ++r) {
                      backward_position(dq_sum_hd, dkv_rc2hd + r * kv_size, ds_hc,
                                        dout_rhd + r * width, a_rhc + r * heads * channels, q_hd,
                                        kv_rc2hd + r * kv_size, channels, heads, extent);
                    }
                  });
  });
}

void channel_linear_forward(float* out_rd, const float* tokens_rcd, const float* w_c, float bias,
                            std::int64_t rows, std::int64_t channels, std::int64_t dim) {
  const KernelScope scope("channel_linear_forward", {rows, channels, dim, 0},
                          2.0 * static_cast<double>(rows * channels * dim),
                          4.0 * static_cast<double>(rows * (channels + 1) * dim));
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
  const KernelScope scope("channel_linear_backward", {rows, channels, dim, 0},
                          4.0 * static_cast<double>(rows * channels * dim),
                          4.0 * static_cast<double>(rows * (2 * channels + 1) * dim));
  reduce_vector(rows, row_grain(channels * dim), dw_c, channels,
                [=](std::int64_t begin, std::int64_t end, float* sum_c) {
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
                      sum_c[c] += dw;
                    }
                  }
                });
  reduce_vector(rows, row_grain(dim), dbias, 1,
                [=](std::int64_t begin, std::int64_t end, float* sum) {
                  float db = 0;
#pragma omp simd reduction(+ : db)
                  for (std::int64_t i = begin * dim; i < end * dim; ++i) db += dout_rd[i];
                  *sum += db;
                });
}

}  // namespace trib::ops
