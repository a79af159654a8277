#include "model/modules.h"

#include "ops/kernels/layer_norm.h"
#include "ops/kernels/linear.h"

namespace trib::model {

Linear::Linear(ParameterTable& table, const std::string& name, std::int64_t in, std::int64_t out,
               const Options& options)
    : weight_(table.add({.name = name + ".weight",
                         .shape = {out, in},
                         .init = options.init,
                         .split = options.split})) {
  const Shape local = table.spec(weight_).local();
  out_ = local[0];
  in_ = local[1];
  if (!options.with_bias) return;
  bias_ = table.add({.name = name + ".bias",
                     .shape = {out},
                     .decay = false,
                     .split = options.split.axis == 0 ? options.split : TensorSplit{}});
}

void Linear::forward(const Parameters& parameters, float* y_ro, const float* x_ri,
                     std::int64_t rows) const {
  ops::linear_forward(y_ro, x_ri, parameters.value(weight_),
                      bias_ < 0 ? nullptr : parameters.value(bias_), rows, in_, out_);
}

void Linear::backward(Parameters& parameters, float* dx_ri, const float* dy_ro, const float* x_ri,
                      std::int64_t rows) const {
  ops::linear_backward(dx_ri, parameters.gradient(weight_),
                       bias_ < 0 ? nullptr : parameters.gradient(bias_), dy_ro, x_ri,
                       parameters.value(weight_), rows, in_, out_);
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

void LayerNorm::forward(const Parameters& parameters, float* y_rd, float* mean_r, float* rstd_r,
                        const float* x_rd, std::int64_t rows) const {
  ops::layer_norm_forward(y_rd, mean_r, rstd_r, x_rd, parameters.value(weight_),
                          parameters.value(bias_), rows, dim_, kEps);
}

void LayerNorm::backward(Parameters& parameters, float* dx_rd, const float* dy_rd,
                         const float* x_rd, const float* mean_r, const float* rstd_r,
                         std::int64_t rows, bool accumulate_dx) const {
  ops::layer_norm_backward(dx_rd, parameters.gradient(weight_), parameters.gradient(bias_), dy_rd,
                           x_rd, parameters.value(weight_), mean_r, rstd_r, rows, dim_,
                           accumulate_dx);
}

}  // namespace trib::model
