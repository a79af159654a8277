// The update of AdamW (Loshchilov & Hutter, 2019) on flat buffers.
#pragma once

#include <cstdint>
#include <span>

#include "ops/base/bfloat16.h"

namespace trib::ops {

/// What is the same for all elements of a step; torch.optim.AdamW's arithmetic.
struct AdamWFactors {
  float beta1, beta2;
  float eps;
  float gradient_scale;    ///< multiplies the gradient first (clipping)
  float rate;              ///< learning rate / (1 - beta1^step)
  float root_correction2;  ///< sqrt(1 - beta2^step)
  float keep;              ///< 1 - learning rate * weight decay
};

/// Elements that lie together. `low`, unless null, gets the new values as bfloat16.
struct AdamWPiece {
  float* value;
  float* exp_avg;
  float* exp_avg_sq;
  const float* gradient;
  std::int64_t count;
  float keep;  ///< in place of that of the factors
  BFloat16* low = nullptr;
};

/// In one pass: m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2 and
/// value = keep * value - rate * m / (sqrt(v) / root_correction2 + eps), g = gradient_scale *
/// gradient. The bits of an element's result depend on its own inputs alone.
void adamw_update(float* value, float* exp_avg, float* exp_avg_sq, const float* gradient,
                  std::int64_t count, const AdamWFactors& factors, BFloat16* low = nullptr);
/// The same for all pieces in one parallel loop, however small they are.
void adamw_update(std::span<const AdamWPiece> pieces, const AdamWFactors& factors);

}  // namespace trib::ops
