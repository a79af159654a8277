#include "model/optimizer.h"

#include <cmath>
#include <utility>

#include "ops/base/parallel.h"
#include "ops/kernels/activation.h"

namespace trib::model {
namespace {
constexpr std::int64_t kGrain = 1 << 14;
}

AdamW::AdamW(ShardLayout layout, const AdamWOptions& options)
    : layout_(std::move(layout)),
      options_(options),
      exp_avg_(Tensor::zeros({layout_.own_size()}, DType::f32, MemoryKind::optimizer)),
      exp_avg_sq_(Tensor::zeros({layout_.own_size()}, DType::f32, MemoryKind::optimizer)) {}

void AdamW::step(Parameters& parameters, double learning_rate, double gradient_scale) {
  std::vector<UnitShard> shards;
  for (int unit = 0; unit < layout_.units(); ++unit) {
    const std::int64_t begin = layout_.unit_begin(unit);
    shards.push_back({parameters.flat_values().data<float>() + begin,
                      parameters.flat_gradients().data<float>() + begin});
  }
  step(shards, learning_rate, gradient_scale);
}

void AdamW::step(const std::vector<UnitShard>& shards, double learning_rate,
                 double gradient_scale) {
  ++steps_;
  const auto steps = static_cast<double>(steps_);
  const double correction1 = 1 - std::pow(options_.beta1, steps);
  const double correction2 = 1 - std::pow(options_.beta2, steps);
  const auto beta1 = static_cast<float>(options_.beta1);
  const auto beta2 = static_cast<float>(options_.beta2);
  const auto rest1 = static_cast<float>(1 - options_.beta1);
  const auto rest2 = static_cast<float>(1 - options_.beta2);
  const auto eps = static_cast<float>(options_.eps);
  const auto scale = static_cast<float>(gradient_scale);
  const auto rate = static_cast<float>(learning_rate / correction1);
  const auto root_correction2 = static_cast<float>(std::sqrt(correction2));

  for (const ShardPiece& piece : layout_.pieces()) {
    const ParameterSpec& spec = layout_.table().spec(piece.id);
    if (!spec.trainable) continue;
    const auto keep =
        static_cast<float>(spec.decay ? 1 - learning_rate * options_.weight_decay : 1.0);
    const UnitShard& shard = shards[static_cast<std::size_t>(spec.unit)];
    const std::int64_t place = piece.at - layout_.shard_begin(spec.unit);
    float* value = shard.values + place;
    const float* gradient = shard.gradients + place;
    float* m = exp_avg_.data<float>() + piece.at;
    float* v = exp_avg_sq_.data<float>() + piece.at;
    parallel_for(piece.elements.size(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const float g = scale * gradient[i];
        m[i] = beta1 * m[i] + rest1 * g;
        v[i] = beta2 * v[i] + rest2 * g * g;
        const float denominator = std::sqrt(v[i]) / root_correction2 + eps;
        value[i] = keep * value[i] - rate * m[i] / denominator;
      }
    });
  }
}

double gradient_norm(const Parameters& parameters) {
  const Tensor& gradients = parameters.flat_gradients();
  return std::sqrt(ops::sum_of_squares(gradients.data<float>(), gradients.numel()));
}

}  // namespace trib::model
