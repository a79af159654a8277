#include "model/parameters.h"

#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::model {
namespace {
constexpr std::int64_t kOffsetAlignment = 16;  // elements: one cache line
}

ParameterId ParameterTable::add(ParameterSpec spec) {
  const auto id = static_cast<ParameterId>(specs_.size());
  if (!ids_.emplace(spec.name, id).second) {
    throw RuntimeError(fmt::format("parameter {} is registered twice", spec.name));
  }
  spec.offset = flat_size_;
  const std::int64_t end = flat_size_ + spec.local().numel();
  flat_size_ = (end + kOffsetAlignment - 1) / kOffsetAlignment * kOffsetAlignment;
  specs_.push_back(std::move(spec));
  return id;
}

void ParameterTable::mark_partial_gradient(ParameterId id) {
  specs_[static_cast<std::size_t>(id)].partial_gradient = true;
}

ParameterId ParameterTable::find(std::string_view name) const {
  const auto found = ids_.find(name);
  return found == ids_.end() ? -1 : found->second;
}

std::int64_t ParameterTable::count() const {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : specs_) {
    if (spec.trainable) total += spec.shape.numel();
  }
  return total;
}

Parameters::Parameters(const ParameterTable& table, bool with_gradients)
    : table_(&table),
      values_(Tensor::zeros({table.flat_size()}, DType::f32, MemoryKind::parameters)) {
  if (with_gradients) {
    gradients_ = Tensor::zeros({table.flat_size()}, DType::f32, MemoryKind::gradients);
  }
}

void Parameters::zero_gradients() {
  if (gradients_.nbytes() > 0) std::memset(gradients_.bytes(), 0, gradients_.nbytes());
}

float* Parameters::value(ParameterId id) {
  return values_.data<float>() + table_->spec(id).offset;
}
const float* Parameters::value(ParameterId id) const {
  return values_.data<float>() + table_->spec(id).offset;
}
float* Parameters::gradient(ParameterId id) {
  return gradients_.data<float>() + table_->spec(id).offset;
}
const float* Parameters::gradient(ParameterId id) const {
  return gradients_.data<float>() + table_->spec(id).offset;
}

namespace {
Tensor view_of(const Tensor& flat, const ParameterSpec& spec) {
  const Shape local = spec.local();
  return flat.slice(0, spec.offset, spec.offset + local.numel()).reshape(local);
}
}  // namespace

Tensor Parameters::value_tensor(ParameterId id) const {
  return view_of(values_, table_->spec(id));
}
Tensor Parameters::gradient_tensor(ParameterId id) const {
  return view_of(gradients_, table_->spec(id));
}

}  // namespace trib::model
