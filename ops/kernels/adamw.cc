#include "ops/kernels/adamw.h"

#include <cmath>

#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"

namespace trib::ops {

void adamw_update(float* value, float* exp_avg, float* exp_avg_sq, const float* gradient,
                  std::int64_t count, const AdamWFactors& factors) {
  const AdamWFactors f = factors;
  const float rest1 = 1 - f.beta1, rest2 = 1 - f.beta2;
  parallel_for(count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = f.gradient_scale * gradient[i];
      exp_avg[i] = f.beta1 * exp_avg[i] + rest1 * g;
      exp_avg_sq[i] = f.beta2 * exp_avg_sq[i] + rest2 * g * g;
      const float denominator = std::sqrt(exp_avg_sq[i]) / f.root_correction2 + f.eps;
      value[i] = f.keep * value[i] - f.rate * exp_avg[i] / denominator;
    }
  });
}

}  // namespace trib::ops
