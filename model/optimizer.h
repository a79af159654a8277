// AdamW (Loshchilov & Hutter, 2019), gradient clipping and the learning-rate schedule.
#pragma once

#include <cstdint>
#include <vector>

#include "model/parallel/shard_layout.h"
#include "model/parameters.h"
#include "ops/kernels/adamw.h"

namespace trib::model {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.05;
};

/// Where the values and gradients of the own shard of a unit stand.
struct UnitShard {
  float* values = nullptr;
  const float* gradients = nullptr;
  BFloat16* bf16 = nullptr;  ///< unless null, gets the new values of what is trained
};

/// Moments of the own shards, charged to MemoryKind::optimizer. Decay applies to the table's
/// `decay` parameters only (not to biases, norms, embeddings, queries and mask tokens: MAE,
/// ClimaX).
class AdamW {
 public:
  AdamW(ShardLayout layout, const AdamWOptions& options);
  /// One update with decoupled decay; torch.optim.AdamW's arithmetic. `gradient_scale` multiplies
  /// the gradients first (clipping). Steps count from 1.
  void step(const std::vector<UnitShard>& shards, double learning_rate, double gradient_scale = 1);
  /// The same where one rank has all units in place; bfloat16 copies of values follow.
  void step(Parameters& parameters, double learning_rate, double gradient_scale = 1);
  std::int64_t steps() const { return steps_; }

  /// State for checkpoints, laid out like the own shards.
  Tensor& exp_avg() { return exp_avg_; }
  Tensor& exp_avg_sq() { return exp_avg_sq_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }

 private:
  ShardLayout layout_;
  AdamWOptions options_;
  Tensor exp_avg_, exp_avg_sq_;
  std::vector<UnitShard> units_;         // of a step; kept, so that steps allocate nothing
  std::vector<ops::AdamWPiece> pieces_;  // likewise
  std::int64_t steps_ = 0;
};

/// Euclidean norm of all gradients this rank holds, in double.
double gradient_norm(const Parameters& parameters);

/// Linear warm-up from `start` over `warmup_steps`, then half a cosine down to `min_lr` at
/// `total_steps` (the closed form of ClimaX's LinearWarmupCosineAnnealingLR). The last warm-up step
/// and the first after it both have `lr`; a single warm-up step has `start`.
struct CosineSchedule {
  double lr = 1e-3;
  double start = 1e-8;
  double min_lr = 1e-8;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;
  /// Learning rate of step `step`, counted from 0.
  double at(std::int64_t step) const;
};

}  // namespace trib::model
