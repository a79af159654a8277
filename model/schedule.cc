#include <cmath>
#include <numbers>

#include "model/optimizer.h"

namespace trib::model {

double CosineSchedule::at(std::int64_t step) const {
  const auto e = static_cast<double>(step);
  const auto warmup = static_cast<double>(warmup_steps);
  const auto total = static_cast<double>(total_steps);
  if (step < warmup_steps) {
    return warmup_steps == 1 ? start : start + e * (lr - start) / (warmup - 1);
  }
  if (step >= total_steps) return min_lr;
  const double phase = std::numbers::pi * (e - warmup) / (total - warmup);
  return min_lr + (lr - min_lr) / 2 * (1 + std::cos(phase));
}

}  // namespace trib::model
