// The two modules everything is made of: a linear map and a layer norm over a parameter table.
#pragma once

#include <cstdint>
#include <string>

#include "model/parameters.h"

namespace trib::model {

/// y = x W^T + b with `name`.weight [out, in] and `name`.bias [out] (timm's names). Weights start
/// Xavier-uniform as in MAE: at the dims that fit on processors a fixed deviation of 0.02 would let
/// the position embedding drown what comes from the pixels.
///
/// A rank may hold a part of the rows (Megatron's column-parallel form: it computes a part of the
/// outputs) or of the columns (its row-parallel form: it takes a part of the inputs, and its output
/// is a part of the sum over the ranks; see RowParallelLinear).
///
/// x_ri and dy_ro are of the type of the weight; y_ro and dx_ri of that type or float32.
class Linear {
 public:
  struct Options {
    bool with_bias = true;
    Init init = Init::xavier_uniform;
    TensorSplit split = {};  ///< of the weight; the bias follows its rows
    bool is_fp32 = false;    ///< whatever the precision of the table
  };
  Linear(ParameterTable& table, const std::string& name, std::int64_t in, std::int64_t out,
         const Options& options);
  Linear(ParameterTable& table, const std::string& name, std::int64_t in, std::int64_t out)
      : Linear(table, name, in, out, Options{}) {}

  /// With `accumulate`, added to a float32 y_ro.
  void forward(const Parameters& parameters, FloatPtr y_ro, ConstFloatPtr x_ri, std::int64_t rows,
               bool accumulate = false) const;
  /// hidden_ro = x W^T + b and activated_ro = gelu(hidden_ro).
  void forward_gelu(const Parameters& parameters, FloatPtr activated_ro, FloatPtr hidden_ro,
                    ConstFloatPtr x_ri, std::int64_t rows) const;
  /// dx_ri is written; the gradients of weight and bias are added to.
  void backward(Parameters& parameters, FloatPtr dx_ri, ConstFloatPtr dy_ro, ConstFloatPtr x_ri,
                std::int64_t rows) const;
  /// Its two halves, for callers that have x_ri later than dy_ro.
  void backward_input(const Parameters& parameters, FloatPtr dx_ri, ConstFloatPtr dy_ro,
                      std::int64_t rows) const;
  void backward_weight(Parameters& parameters, ConstFloatPtr dy_ro, ConstFloatPtr x_ri,
                       std::int64_t rows) const;

  /// Of forward plus backward.
  std::int64_t flops(std::int64_t rows) const { return 6 * rows * in_ * out_; }
  std::int64_t in() const { return in_; }    ///< of this rank
  std::int64_t out() const { return out_; }  ///< of this rank
  ParameterId weight() const { return weight_; }
  ParameterId bias() const { return bias_; }

 private:
  ConstFloatPtr weight_of(const Parameters& parameters) const;
  const float* bias_of(const Parameters& parameters) const;

  std::int64_t in_, out_;
  bool is_fp32_;
  ParameterId weight_, bias_ = -1;
};

/// Layer norm over the last axis with `name`.weight and `name`.bias.
class LayerNorm {
 public:
  /// torch's default, which D-CHAG and ClimaX use (MAE has 1e-6).
  static constexpr float kEps = 1e-5F;

  /// With `partial_gradient`, ranks of the tensor axis apply it to different rows.
  LayerNorm(ParameterTable& table, const std::string& name, std::int64_t dim,
            bool partial_gradient = false);

  /// x += branch (unless null), y = norm(x). x_hat_rd, of the type of y_rd, and rstd_r are what
  /// backward needs; null where none follows.
  void forward(const Parameters& parameters, FloatPtr y_rd, FloatPtr x_hat_rd, float* rstd_r,
               float* x_rd, const float* branch_rd, std::int64_t rows) const;
  /// y again from x_hat.
  void forward_again(const Parameters& parameters, FloatPtr y_rd, ConstFloatPtr x_hat_rd,
                     std::int64_t rows) const;
  /// dx_rd is added to if `accumulate_dx`, else written (and may be dy_rd).
  void backward(Parameters& parameters, float* dx_rd, ConstFloatPtr dy_rd, ConstFloatPtr x_hat_rd,
                const float* rstd_r, std::int64_t rows, bool accumulate_dx) const;

 private:
  std::int64_t dim_;
  ParameterId weight_, bias_;
};

}  // namespace trib::model
