#include "model/parallel/chain_linear.h"

namespace trib::model {

ChainLinear::ChainLinear(ParameterTable& table, const std::string& name, std::int64_t dim,
                         std::int64_t place, std::int64_t length, const TensorGroup& group)
    : group_(group), dim_(dim), out_(dim), is_first_(place % 2 == 0 && place + 1 < length) {
  if (place % 2 == 1) {
    second_.emplace(table, name, dim, dim, std::vector{group.own(dim)}, group);
    return;
  }
  const bool is_split = is_first_ && !group.is_alone();
  linear_.emplace(
      table, name, dim, dim,
      Linear::Options{.split = is_split ? TensorSplit{0, 1, {group.own(dim)}} : TensorSplit{}});
  out_ = linear_->out();
}

void ChainLinear::forward(const Parameters& parameters, float* y_ro, const float* x_ri,
                          std::int64_t rows) const {
  if (second_) {
    second_->forward(parameters, y_ro, x_ri, rows);
  } else {
    linear_->forward(parameters, y_ro, x_ri, rows);
  }
}

void ChainLinear::backward(Parameters& parameters, float* dx_ri, const float* dy_ro,
                           const float* x_ri, std::int64_t rows) const {
  if (second_) return second_->backward(parameters, dx_ri, dy_ro, x_ri, rows);
  linear_->backward(parameters, dx_ri, dy_ro, x_ri, rows);
  if (is_first_) group_.all_reduce(dx_ri, rows * dim_);
}

std::int64_t ChainLinear::flops(std::int64_t rows) const {
  return second_ ? second_->flops(rows) : linear_->flops(rows);
}

}  // namespace trib::model
