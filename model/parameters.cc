#include "model/parameters.h"

#include <utility>

#include <fmt/format.h>

#include "ops/base/clear.h"
#include "ops/base/error.h"
#include "ops/kernels/activation.h"

namespace trib::model {
namespace {

void place_one_after_another(const ParameterTable& table, float* flat, std::vector<float*>& at) {
  for (std::size_t unit = 0; unit < at.size(); ++unit) {
    at[unit] = flat;
    flat += table.units()[unit].size;
  }
}

}  // namespace

void ParameterTable::begin_unit(std::string name) {
  begin_unit(std::move(name), last_unit());
}

void ParameterTable::begin_unit(std::string name, int next_backward) {
  const auto first = static_cast<ParameterId>(specs_.size());
  units_.push_back(
      {.name = std::move(name), .first = first, .end = first, .next_backward = next_backward});
}

ParameterId ParameterTable::add(ParameterSpec spec) {
  const auto id = static_cast<ParameterId>(specs_.size());
  if (!ids_.emplace(spec.name, id).second) {
    throw RuntimeError(fmt::format("parameter {} is registered twice", spec.name));
  }
  ParameterUnit& unit = units_.back();
  spec.unit = last_unit();
  spec.offset = unit.size;
  const std::int64_t padded = (spec.local().numel() + kAlignment - 1) / kAlignment * kAlignment;
  unit.size += padded;
  spec.other_offset = unit.others;
  if (!spec.is_operand) unit.others += padded;
  unit.end = id + 1;
  unit.has_bf16 |= precision_ == Precision::bf16 && spec.is_operand;
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

std::int64_t ParameterTable::flat_size() const {
  std::int64_t size = 0;
  for (const ParameterUnit& unit : units_) size += unit.size;
  return size;
}

std::int64_t ParameterTable::bf16_size() const {
  std::int64_t size = 0;
  for (const ParameterUnit& unit : units_) size += unit.has_bf16 ? unit.size : 0;
  return size;
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
      values_(Tensor::zeros({table.flat_size()}, DType::f32, MemoryKind::parameters)),
      values_at_(table.units().size()),
      gradients_at_(table.units().size()),
      bf16_at_(table.units().size()),
      has_others_only_(table.units().size()) {
  place_one_after_another(table, values_.data<float>(), values_at_);
  if (table.bf16_size() > 0) {
    bf16_ = Tensor::zeros({table.bf16_size()}, DType::bf16, MemoryKind::parameters);
    BFloat16* at = bf16_.data<BFloat16>();
    for (std::size_t unit = 0; unit < bf16_at_.size(); ++unit) {
      if (!table.units()[unit].has_bf16) continue;
      bf16_at_[unit] = at;
      at += table.units()[unit].size;
    }
  }
  if (!with_gradients) return;
  gradients_ = Tensor::zeros({table.flat_size()}, DType::f32, MemoryKind::gradients);
  place_one_after_another(table, gradients_.data<float>(), gradients_at_);
}

Parameters::Parameters(const ParameterTable& table, UnitVisitor& visitor)
    : table_(&table),
      visitor_(&visitor),
      values_at_(table.units().size()),
      gradients_at_(table.units().size()),
      bf16_at_(table.units().size()),
      has_others_only_(table.units().size()) {}

void Parameters::zero_gradients() {
  clear(gradients_.bytes(), static_cast<std::int64_t>(gradients_.nbytes()));
}

void Parameters::values_changed() {
  for (std::size_t unit = 0; unit < bf16_at_.size(); ++unit) {
    if (bf16_at_[unit] == nullptr || values_at_[unit] == nullptr) continue;
    ops::convert(bf16_at_[unit], values_at_[unit], table_->units()[unit].size);
  }
}

template <class T>
T* Parameters::at(const std::vector<T*>& units, ParameterId id) const {
  const ParameterSpec& spec = table_->spec(id);
  T* const unit = units[static_cast<std::size_t>(spec.unit)];
  if (unit == nullptr && table_->unit(spec.unit).size > 0) {
    throw RuntimeError(
        fmt::format("{}: its unit {} is not in place", spec.name, table_->unit(spec.unit).name));
  }
  return unit + spec.offset;
}

float* Parameters::value(ParameterId id) {
  const ParameterSpec& spec = table_->spec(id);
  if (!has_others_only_[static_cast<std::size_t>(spec.unit)]) return at(values_at_, id);
  if (spec.is_operand) {
    throw RuntimeError(fmt::format("{}: is in place in bfloat16 alone", spec.name));
  }
  return at(values_at_, id) - spec.offset + spec.other_offset;
}
const float* Parameters::value(ParameterId id) const {
  return const_cast<Parameters*>(this)->value(id);
}
float* Parameters::gradient(ParameterId id) {
  return at(gradients_at_, id);
}
const float* Parameters::gradient(ParameterId id) const {
  return at(gradients_at_, id);
}

ConstFloatPtr Parameters::operand(ParameterId id) const {
  const bool is_bf16 = table_->precision() == Precision::bf16;
  return is_bf16 ? ConstFloatPtr(at(bf16_at_, id)) : ConstFloatPtr(value(id));
}

Tensor Parameters::value_tensor(ParameterId id) const {
  return Tensor::view(const_cast<Parameters*>(this)->value(id), table_->spec(id).local());
}
Tensor Parameters::gradient_tensor(ParameterId id) const {
  return Tensor::view(at(gradients_at_, id), table_->spec(id).local());
}

}  // namespace trib::model
