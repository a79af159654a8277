#include "model/modules.h"

#include "ops/kernels/layer_norm.h"
#include "ops/kernels/linear.h"

namespace trib::model {

Linear::Linear(ParameterTable& table, const std::string& name, std::int64_t in, std::int64_t out,
               const Options& options)
    : is_fp32_(options.is_fp32),
      weight_(table.add({.name = name + ".weight",
                         .shape = {out, in},
                         .init = options.init,
                         .split = options.split,
                         .is_operand = !options.is_fp32})) {
  const Shape local = table.spec(weight_).local();
  out_ = local[0];
  in_ = local[1];
  if (!options.with_bias) return;
  bias_ = table.add({.name = name + ".bias",
                     .shape = {out},
                     .decay = false,
                     .split = options.split.axis == 0 ? options.split : TensorSplit{}});
}

ConstFloatPtr Linear::weight_of(const Parameters& parameters) const {
  return is_fp32_ ? ConstFloatPtr(parameters.value(weight_)) : parameters.operand(weight_);
}

const float* Linear::bias_of(const Parameters& parameters) const {
  return bias_ < 0 ? nullptr : parameters.value(bias_);
}

void Linear::forward(const Parameters& parameters, FloatPtr y_ro, ConstFloatPtr x_ri,
                     std::int64_t rows, bool accumulate) const {
  ops::linear_forward(y_ro, x_ri, weight_of(parameters), bias_of(parameters), rows, in_, out_,
                      accumulate);
}

void Linear::forward_gelu(const Parameters& parameters, FloatPtr activated_ro, FloatPtr hidden_ro,
                          ConstFloatPtr x_ri, std::int64_t rows) const {
  ops::linear_gelu_forward(activated_ro, hidden_ro, x_ri, weight_of(parameters),
                           bias_of(parameters), rows, in_, out_);
}

void Linear::backward(Parameters& parameters, FloatPtr dx_ri, ConstFloatPtr dy_ro,
                      ConstFloatPtr x_ri, std::int64_t rows) const {
  backward_input(parameters, dx_ri, dy_ro, rows);
  backward_weight(parameters, dy_ro, x_ri, rows);
}

void Linear::backward_input(const Parameters& parameters, FloatPtr dx_ri, ConstFloatPtr dy_ro,
                            std::int64_t rows) const {
  ops::linear_backward(dx_ri, nullptr, nullptr, dy_ro, nullptr, weight_of(parameters), rows, in_,
                       out_);
}

void Linear::backward_weight(Parameters& parameters, ConstFloatPtr dy_ro, ConstFloatPtr x_ri,
                             std::int64_t rows) const {
  ops::linear_backward(nullptr, parameters.gradient(weight_),
                       bias_ < 0 ? nullptr : parameters.gradient(bias_), dy_ro, x_ri, nullptr, rows,
                       in_, out_);
}

LayerNorm::LayerNorm(ParameterTable& table, const std::string& name, std::int64_t dim,
                     bool partial_gradient)
    : dim_(dim),
      weight_(table.add({.name = name + ".weight",
                         .shape = {dim},
                         .init = Init::ones,
                         .decay = false,
                         .partial_gradient = partial_gradient})),
      bias_(table.add({.name = name + ".bias",
                       .shape = {dim},
                       .decay = false,
                       .partial_gradient = partial_gradient})) {}

void LayerNorm::forward(const Parameters& parameters, FloatPtr y_rd, FloatPtr x_hat_rd,
                        float* rstd_r, float* x_rd, const float* branch_rd,
                        std::int64_t rows) const {
  ops::layer_norm_forward(y_rd, x_hat_rd, rstd_r, x_rd, branch_rd, parameters.value(weight_),
                          parameters.value(bias_), rows, dim_, kEps);
}

void LayerNorm::forward_again(const Parameters& parameters, FloatPtr y_rd, ConstFloatPtr x_hat_rd,
                              std::int64_t rows) const {
  ops::layer_norm_affine(y_rd, x_hat_rd, parameters.value(weight_), parameters.value(bias_), rows,
                         dim_);
}

void LayerNorm::backward(Parameters& parameters, float* dx_rd, ConstFloatPtr dy_rd,
                         ConstFloatPtr x_hat_rd, const float* rstd_r, std::int64_t rows,
                         bool accumulate_dx) const {
  ops::layer_norm_backward(dx_rd, parameters.gradient(weight_), parameters.gradient(bias_), dy_rd,
                           x_hat_rd, parameters.value(weight_), rstd_r, rows, dim_, accumulate_dx);
}

}  // namespace trib::model
