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
};

/// Elements that lie together.
struct AdamWPiece {
  float* value;
  float* exp_avg;
  float* exp_avg_sq;
  const float* gradient;
  std::int64_t count;
  float keep;                ///< 1 - learning rate * weight decay
  BFloat16* bf16 = nullptr;  ///< gets the new values too, unless null
};

/// In one pass, and one parallel loop for all pieces, however small they are: m = beta1 m + (1 -
/// beta1) g, v = beta2 v + (1 - beta2) g^2 and value = keep * value - rate * m / (sqrt(v) /
/// root_correction2 + eps), g = gradient_scale * gradient. The bits of an element's result depend
/// on its own inputs alone.
void adamw_update(std::span<const AdamWPiece> pieces, const AdamWFactors& factors);

}  // namespace trib::ops
