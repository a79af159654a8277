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
class Linear {
 public:
  struct Options {
    bool with_bias = true;
    Init init = Init::xavier_uniform;
    TensorSplit split = {};  ///< of the weight; the bias follows its rows
  };
  Linear(ParameterTable& table, const std::string& name, std::int64_t in, std::int64_t out,
         const Options& options);
  Linear(ParameterTable& table, const std::string& name, std::int64_t in, std::int64_t out)
      : Linear(table, name, in, out, Options{}) {}

  void forward(const Parameters& parameters, float* y_ro, const float* x_ri,
               std::int64_t rows) const;
  /// dx_ri is written; the gradients of weight and bias are added to.
  void backward(Parameters& parameters, float* dx_ri, const float* dy_ro, const float* x_ri,
                std::int64_t rows) const;
  /// Of forward plus backward.
  std::int64_t flops(std::int64_t rows) const { return 6 * rows * in_ * out_; }
  std::int64_t in() const { return in_; }    ///< of this rank
  std::int64_t out() const { return out_; }  ///< of this rank
  ParameterId weight() const { return weight_; }
  ParameterId bias() const { return bias_; }

 private:
  std::int64_t in_, out_;
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

  void forward(const Parameters& parameters, float* y_rd, float* mean_r, float* rstd_r,
               const float* x_rd, std::int64_t rows) const;
  /// dx_rd is added to if `accumulate_dx`, else written (and may be dy_rd).
  void backward(Parameters& parameters, float* dx_rd, const float* dy_rd, const float* x_rd,
                const float* mean_r, const float* rstd_r, std::int64_t rows,
                bool accumulate_dx) const;

 private:
  std::int64_t dim_;
  ParameterId weight_, bias_;
};

}  // namespace trib::model
