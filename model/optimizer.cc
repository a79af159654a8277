#include "model/optimizer.h"

#include <cmath>
#include <utility>

#include "ops/kernels/activation.h"
#include "ops/kernels/adamw.h"

namespace trib::model {
AdamW::AdamW(ShardLayout layout, const AdamWOptions& options)
    : layout_(std::move(layout)),
      options_(options),
      exp_avg_(Tensor::zeros({layout_.own_size()}, DType::f32, MemoryKind::optimizer)),
      exp_avg_sq_(Tensor::zeros({layout_.own_size()}, DType::f32, MemoryKind::optimizer)) {}

void AdamW::step(Parameters& parameters, double learning_rate, double gradient_scale) {
  units_.clear();
  for (int unit = 0; unit < layout_.units(); ++unit) {
    const std::int64_t begin = layout_.unit_begin(unit);
    units_.push_back({parameters.flat_values().data<float>() + begin,
                      parameters.flat_gradients().data<float>() + begin,
                      parameters.bf16_unit(unit)});
  }
  step(units_, learning_rate, gradient_scale);
}

void AdamW::step(const std::vector<UnitShard>& shards, double learning_rate,
                 double gradient_scale) {
  ++steps_;
  const auto steps = static_cast<double>(steps_);
  const double correction1 = 1 - std::pow(options_.beta1, steps);
  const double correction2 = 1 - std::pow(options_.beta2, steps);
  const ops::AdamWFactors factors{.beta1 = static_cast<float>(options_.beta1),
                                  .beta2 = static_cast<float>(options_.beta2),
                                  .eps = static_cast<float>(options_.eps),
                                  .gradient_scale = static_cast<float>(gradient_scale),
                                  .rate = static_cast<float>(learning_rate / correction1),
                                  .root_correction2 = static_cast<float>(std::sqrt(correction2))};
  const auto decayed = static_cast<float>(1 - learning_rate * options_.weight_decay);
  pieces_.clear();
  for (const ShardPiece& piece : layout_.pieces()) {
    const ParameterSpec& spec = layout_.table().spec(piece.id);
    if (!spec.trainable) continue;
    const UnitShard& shard = shards[static_cast<std::size_t>(spec.unit)];
    const std::int64_t place = piece.at - layout_.shard_begin(spec.unit);
    pieces_.push_back({.value = shard.values + place,
                       .exp_avg = exp_avg_.data<float>() + piece.at,
                       .exp_avg_sq = exp_avg_sq_.data<float>() + piece.at,
                       .gradient = shard.gradients + place,
                       .count = piece.elements.size(),
                       .keep = spec.decay ? decayed : 1.0F,
                       .bf16 = shard.bf16 == nullptr ? nullptr : shard.bf16 + place});
  }
  ops::adamw_update(pieces_, factors);
}

double gradient_norm(const Parameters& parameters) {
  const Tensor& gradients = parameters.flat_gradients();
  return std::sqrt(ops::sum_of_squares(gradients.data<float>(), gradients.numel()));
}

}  // namespace trib::model
