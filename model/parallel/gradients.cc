#include "model/parallel/gradients.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "model/optimizer.h"
#include "ops/kernels/activation.h"

namespace trib::model {
namespace {

// Smaller gradients travel together, larger ones in place.
constexpr std::int64_t kPacked = 1 << 16;

bool is_packed(const ParameterSpec& spec) {
  return spec.partial_gradient && spec.local().numel() <= kPacked;
}

}  // namespace

std::int64_t partial_gradient_bytes(const ParameterTable& table, const TensorGroup& group) {
  std::int64_t count = 0;
  for (const ParameterSpec& spec : table.specs()) {
    if (is_packed(spec)) count += spec.local().numel();
  }
  return group.is_alone() ? 0 : count * static_cast<std::int64_t>(sizeof(float));
}

void reduce_partial_gradients(Parameters& parameters, const TensorGroup& group) {
  const ParameterTable& table = parameters.table();
  const std::int64_t bytes = partial_gradient_bytes(table, group);
  if (group.is_alone()) return;
  Tensor packed = Tensor::empty({bytes / static_cast<std::int64_t>(sizeof(float))}, DType::f32,
                                MemoryKind::communication);
  float* at = packed.data<float>();
  for (ParameterId id = 0; id < std::ssize(table.specs()); ++id) {
    const ParameterSpec& spec = table.spec(id);
    if (is_packed(spec)) {
      at = std::copy_n(parameters.gradient(id), spec.local().numel(), at);
    } else if (spec.partial_gradient) {
      group.all_reduce(parameters.gradient(id), spec.local().numel());
    }
  }
  if (packed.numel() == 0) return;
  group.all_reduce(packed.data<float>(), packed.numel());
  const float* from = packed.data<float>();
  for (ParameterId id = 0; id < std::ssize(table.specs()); ++id) {
    const ParameterSpec& spec = table.spec(id);
    if (!is_packed(spec)) continue;
    std::copy_n(from, spec.local().numel(), parameters.gradient(id));
    from += spec.local().numel();
  }
}

double gradient_norm(const Parameters& parameters, const TensorGroup& group) {
  if (group.is_alone()) return gradient_norm(parameters);
  double split = 0, replicated = 0;
  for (ParameterId id = 0; id < std::ssize(parameters.table().specs()); ++id) {
    const ParameterSpec& spec = parameters.table().spec(id);
    const double squares = ops::sum_of_squares(parameters.gradient(id), spec.local().numel());
    (spec.split.active() ? split : replicated) += squares;
  }
  group.all_reduce(std::span<double>(&split, 1));
  return std::sqrt(split + replicated);
}

}  // namespace trib::model
