#include "ops/kernels/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/base/parallel.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/vector_math.h"

namespace trib::ops {
namespace {

// Scores are held a block of queries x keys at a time: wide enough that the products inside run at
// the speed of large ones, small enough for the L2 cache. Up to 128 tokens are a single block.
constexpr std::int64_t kQueryBlock = 128;
constexpr std::int64_t kKeyBlock = 128;
// Work a task gets at least, and what a product costs beside its arithmetic, however small it is.
constexpr std::int64_t kTaskFlops = std::int64_t{4} << 20;
constexpr std::int64_t kProductFlops = std::int64_t{1} << 16;

using Scores = std::array<float, kQueryBlock * kKeyBlock>;
using PerQuery = std::array<float, kQueryBlock>;

struct Shape {
  std::int64_t batch, tokens, heads, head_dim;

  float scale() const { return 1.0F / std::sqrt(static_cast<float>(head_dim)); }
  std::int64_t out_ld() const { return heads * head_dim; }
  std::int64_t qkv_ld() const { return 3 * heads * head_dim; }
  // First element of token 0 of head (b, h).
  std::int64_t out_at(std::int64_t b, std::int64_t h) const {
    return b * tokens * out_ld() + h * head_dim;
  }
  std::int64_t qkv_at(std::int64_t b, std::int64_t h) const {
    return b * tokens * qkv_ld() + h * head_dim;
  }
  std::int64_t lse_at(std::int64_t b, std::int64_t h) const { return (b * heads + h) * tokens; }
};

// One head of one sample: its queries, keys and values within the packed buffer.
template <class Float>
struct Head {
  Float *q, *k, *v;

  Head(Float* qkv, const Shape& shape, std::int64_t b, std::int64_t h)
      : q(qkv + shape.qkv_at(b, h)), k(q + shape.out_ld()), v(k + shape.out_ld()) {}
};

void scale_row(float* row, float factor, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) row[i] *= factor;
}

// Queries [q0, q0 + queries) of one head against all keys.
void forward_block(float* out, float* lse, const Head<const float>& head, const Shape& shape,
                   std::int64_t q0, std::int64_t queries) {
  const auto [batch, tokens, heads, dim] = shape;
  const std::int64_t ld = shape.qkv_ld(), out_ld = shape.out_ld();
  alignas(64) Scores scores;
  PerQuery largest, sum;
  largest.fill(-std::numeric_limits<float>::infinity());
  sum.fill(0.0F);
  for (std::int64_t k0 = 0; k0 < tokens; k0 += kKeyBlock) {
    const std::int64_t keys = std::min(kKeyBlock, tokens - k0);
    gemm_serial(Transpose::no, Transpose::yes, queries, keys, dim, shape.scale(), head.q + q0 * ld,
                ld, head.k + k0 * ld, ld, 0.0F, scores.data(), keys);
    for (std::int64_t i = 0; i < queries; ++i) {
      const auto row = static_cast<std::size_t>(i);
      float* s = scores.data() + i * keys;
      const float before = largest[row];
      largest[row] = max_of(s, keys, before);
      const float block_sum = exp_and_sum(s, largest[row], keys);
      if (k0 == 0) {
        sum[row] = block_sum;
      } else {
        const float shrink = vector_exp(before - largest[row]);
        sum[row] = sum[row] * shrink + block_sum;
        if (shrink != 1.0F) scale_row(out + (q0 + i) * out_ld, shrink, dim);
      }
    }
    gemm_serial(Transpose::no, Transpose::no, queries, dim, keys, 1.0F, scores.data(), keys,
                head.v + k0 * ld, ld, k0 == 0 ? 0.0F : 1.0F, out + q0 * out_ld, out_ld);
  }
  for (std::int64_t i = 0; i < queries; ++i) {
    const auto row = static_cast<std::size_t>(i);
    scale_row(out + (q0 + i) * out_ld, 1.0F / sum[row], dim);
    lse[q0 + i] = largest[row] + std::log(sum[row]);
  }
}

// From scores s and dp = dout v^T of a block: s becomes the weights p and dp the gradient of the
// scaled scores, p * (dp - delta) * scale.
void score_gradient(float* s, float* dp, const float* lse, const float* delta, float scale,
                    std::int64_t queries, std::int64_t keys) {
  for (std::int64_t i = 0; i < queries; ++i) {
    float* p_row = s + i * keys;
    float* dp_row = dp + i * keys;
    const float lse_i = lse[i], delta_i = delta[i];
#pragma omp simd
    for (std::int64_t j = 0; j < keys; ++j) {
      p_row[j] = vector_exp(p_row[j] - lse_i);
      dp_row[j] = p_row[j] * (dp_row[j] - delta_i) * scale;
    }
  }
}

// One head of one sample. Keys are the outer loop, so that every gradient is added up in order.
void backward_head(const Head<float>& grad, const float* dout, const Head<const float>& head,
                   const float* out, const float* lse, const Shape& shape) {
  const auto [batch, tokens, heads, dim] = shape;
  const std::int64_t ld = shape.qkv_ld(), out_ld = shape.out_ld();
  alignas(64) Scores scores, dscores;
  std::vector<float> delta(static_cast<std::size_t>(tokens));  // sum of p * dp of a query
  for (std::int64_t i = 0; i < tokens; ++i) {
    delta[static_cast<std::size_t>(i)] = dot(dout + i * out_ld, out + i * out_ld, dim);
  }
  for (std::int64_t k0 = 0; k0 < tokens; k0 += kKeyBlock) {
    const std::int64_t keys = std::min(kKeyBlock, tokens - k0);
    const float *k = head.k + k0 * ld, *v = head.v + k0 * ld;
    for (std::int64_t q0 = 0; q0 < tokens; q0 += kQueryBlock) {
      const std::int64_t queries = std::min(kQueryBlock, tokens - q0);
      const float *q = head.q + q0 * ld, *dout_q = dout + q0 * out_ld;
      const float add_to_keys = q0 == 0 ? 0.0F : 1.0F;
      const float add_to_queries = k0 == 0 ? 0.0F : 1.0F;
      gemm_serial(Transpose::no, Transpose::yes, queries, keys, dim, shape.scale(), q, ld, k, ld,
                  0.0F, scores.data(), keys);
      gemm_serial(Transpose::no, Transpose::yes, queries, keys, dim, 1.0F, dout_q, out_ld, v, ld,
                  0.0F, dscores.data(), keys);
      score_gradient(scores.data(), dscores.data(), lse + q0, delta.data() + q0, shape.scale(),
                     queries, keys);
      gemm_serial(Transpose::yes, Transpose::no, keys, dim, queries, 1.0F, scores.data(), keys,
                  dout_q, out_ld, add_to_keys, grad.v + k0 * ld, ld);
      gemm_serial(Transpose::yes, Transpose::no, keys, dim, queries, 1.0F, dscores.data(), keys, q,
                  ld, add_to_keys, grad.k + k0 * ld, ld);
      gemm_serial(Transpose::no, Transpose::no, queries, dim, keys, 1.0F, dscores.data(), keys, k,
                  ld, add_to_queries, grad.q + q0 * ld, ld);
    }
  }
}

}  // namespace

void attention_forward(FloatPtr out_bnhd, float* lse_bhn, ConstFloatPtr qkv_bn3hd,
                       std::int64_t batch, std::int64_t tokens, std::int64_t heads,
                       std::int64_t head_dim) {
  float* const out = out_bnhd.as<float>();
  const float* const qkv = qkv_bn3hd.as<float>();
  const Shape shape{batch, tokens, heads, head_dim};
  const std::int64_t blocks = (tokens + kQueryBlock - 1) / kQueryBlock;
  const std::int64_t flops =
      2 * (2 * std::min(tokens, kQueryBlock) * tokens * head_dim + kProductFlops);
  parallel_for(
      batch * heads * blocks, kTaskFlops / flops, [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t q0 = i % blocks * kQueryBlock;
          const std::int64_t h = i / blocks % heads, b = i / blocks / heads;
          forward_block(out + shape.out_at(b, h), lse_bhn + shape.lse_at(b, h),
                        Head(qkv, shape, b, h), shape, q0, std::min(kQueryBlock, tokens - q0));
        }
      });
}

void attention_backward(FloatPtr dqkv_bn3hd, ConstFloatPtr dout_bnhd, ConstFloatPtr qkv_bn3hd,
                        ConstFloatPtr out_bnhd, const float* lse_bhn, std::int64_t batch,
                        std::int64_t tokens, std::int64_t heads, std::int64_t head_dim) {
  float* const dqkv = dqkv_bn3hd.as<float>();
  const float *const qkv = qkv_bn3hd.as<float>(), *const out = out_bnhd.as<float>();
  const float* const dout = dout_bnhd.as<float>();
  const Shape shape{batch, tokens, heads, head_dim};
  const std::int64_t flops = 5 * (2 * tokens * tokens * head_dim + kProductFlops);
  parallel_for(batch * heads, kTaskFlops / flops, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t h = i % heads, b = i / heads;
      backward_head(Head(dqkv, shape, b, h), dout + shape.out_at(b, h), Head(qkv, shape, b, h),
                    out + shape.out_at(b, h), lse_bhn + shape.lse_at(b, h), shape);
    }
  });
}

}  // namespace trib::ops
