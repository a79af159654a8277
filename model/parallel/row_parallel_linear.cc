#include "model/parallel/row_parallel_linear.h"

#include "ops/base/error.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/linear.h"

namespace trib::model {

RowParallelLinear::RowParallelLinear(ParameterTable& table, const std::string& name,
                                     std::int64_t in, std::int64_t out,
                                     const std::vector<Range>& own, const TensorGroup& group)
    : linear_(
          table, name, in, out,
          {.with_bias = false, .split = group.is_alone() ? TensorSplit{} : TensorSplit{1, 1, own}}),
      bias_(table.add({.name = name + ".bias", .shape = {out}, .decay = false})),
      group_(group) {}

void RowParallelLinear::forward(const Parameters& parameters, FloatPtr y_ro, ConstFloatPtr x_ri,
                                std::int64_t rows, bool accumulate) const {
  if (group_.is_alone()) {
    ops::linear_forward(y_ro, x_ri, parameters.operand(linear_.weight()), parameters.value(bias_),
                        rows, linear_.in(), linear_.out(), accumulate);
    return;
  }
  if (accumulate) throw RuntimeError("a sum over ranks cannot be added to what they all have");
  float* const sum_ro = y_ro.as<float>();
  forward_partial(parameters, sum_ro, x_ri, rows);
  group_.all_reduce(sum_ro, rows * linear_.out());
  add_bias(parameters, sum_ro, rows);
}

void RowParallelLinear::forward_partial(const Parameters& parameters, float* y_ro,
                                        ConstFloatPtr x_ri, std::int64_t rows) const {
  linear_.forward(parameters, y_ro, x_ri, rows);
}

void RowParallelLinear::add_bias(const Parameters& parameters, float* y_ro,
                                 std::int64_t rows) const {
  ops::add_to_rows(y_ro, parameters.value(bias_), rows, linear_.out());
}

void RowParallelLinear::backward_input(const Parameters& parameters, FloatPtr dx_ri,
                                       ConstFloatPtr dy_ro, std::int64_t rows) const {
  linear_.backward_input(parameters, dx_ri, dy_ro, rows);
}

void RowParallelLinear::backward_weight(Parameters& parameters, ConstFloatPtr dy_ro,
                                        ConstFloatPtr x_ri, std::int64_t rows) const {
  ops::linear_backward(nullptr, parameters.gradient(linear_.weight()), parameters.gradient(bias_),
                       dy_ro, x_ri, nullptr, rows, linear_.in(), linear_.out());
}

}  // namespace trib::model
