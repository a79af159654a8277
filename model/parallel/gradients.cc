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

// What of a unit travels together.
std::int64_t packed_elements(const ParameterTable& table, const ParameterUnit& unit) {
  std::int64_t count = 0;
  for (ParameterId id = unit.first; id < unit.end; ++id) {
    if (is_packed(table.spec(id))) count += table.spec(id).local().numel();
  }
  return count;
}

}  // namespace

std::int64_t partial_gradient_bytes(const ParameterTable& table, const TensorGroup& group) {
  std::int64_t most = 0;
  for (const ParameterUnit& unit : table.units()) {
    most = std::max(most, packed_elements(table, unit));
  }
  return group.is_alone() ? 0 : most * static_cast<std::int64_t>(sizeof(float));
}

void reduce_partial_gradients(Parameters& parameters, const TensorGroup& group) {
  for (int unit = 0; unit <= parameters.table().last_unit(); ++unit) {
    reduce_partial_gradients(parameters, unit, group);
  }
}

void reduce_partial_gradients(Parameters& parameters, int number, const TensorGroup& group) {
  if (group.is_alone()) return;
  const ParameterTable& table = parameters.table();
  const ParameterUnit& unit = table.unit(number);
  Tensor packed =
      Tensor::empty({packed_elements(table, unit)}, DType::f32, MemoryKind::communication);
  float* at = packed.data<float>();
  for (ParameterId id = unit.first; id < unit.end; ++id) {
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
  for (ParameterId id = unit.first; id < unit.end; ++id) {
    const ParameterSpec& spec = table.spec(id);
    if (!is_packed(spec)) continue;
    std::copy_n(from, spec.local().numel(), parameters.gradient(id));
    from += spec.local().numel();
  }
}

}  // namespace trib::model
