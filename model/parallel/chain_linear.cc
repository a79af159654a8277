#include "model/parallel/chain_linear.h"

#include "model/parallel/sum_over_ranks.h"

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

void ChainLinear::forward(const Parameters& parameters, StepArena& arena, FloatPtr y_ro,
                          ConstFloatPtr x_ri, std::int64_t rows) const {
  if (linear_) return linear_->forward(parameters, y_ro, x_ri, rows);
  if (group_.is_alone() || !y_ro.is_bf16()) return second_->forward(parameters, y_ro, x_ri, rows);
  const StepArena::Scope scope(arena);
  float* sum_ro = arena.floats(rows * out_);
  second_->forward(parameters, sum_ro, x_ri, rows);
  ops::convert(y_ro, sum_ro, rows * out_);
}

void ChainLinear::forward_gelu(const Parameters& parameters, StepArena& arena,
                               FloatPtr activated_ro, FloatPtr y_ro, ConstFloatPtr x_ri,
                               std::int64_t rows) const {
  if (linear_) return linear_->forward_gelu(parameters, activated_ro, y_ro, x_ri, rows);
  forward(parameters, arena, y_ro, x_ri, rows);
  ops::gelu_forward(activated_ro, y_ro, rows * out_);
}

void ChainLinear::backward_input(const Parameters& parameters, StepArena& arena, FloatPtr dx_ri,
                                 ConstFloatPtr dy_ro, std::int64_t rows) const {
  if (second_) return second_->backward_input(parameters, dx_ri, dy_ro, rows);
  if (!is_first_) return linear_->backward_input(parameters, dx_ri, dy_ro, rows);
  sum_over_ranks(group_, arena, dx_ri, rows * dim_, [&](FloatPtr summand_ri) {
    linear_->backward_input(parameters, summand_ri, dy_ro, rows);
  });
}

void ChainLinear::backward_weight(Parameters& parameters, ConstFloatPtr dy_ro, ConstFloatPtr x_ri,
                                  std::int64_t rows) const {
  if (second_) return second_->backward_weight(parameters, dy_ro, x_ri, rows);
  linear_->backward_weight(parameters, dy_ro, x_ri, rows);
}

std::int64_t ChainLinear::flops(std::int64_t rows) const {
  return second_ ? second_->flops(rows) : linear_->flops(rows);
}

}  // namespace trib::model
