// The second half of Megatron's pairs of linear maps.
#pragma once

#include <string>
#include <vector>

#include "model/modules.h"
#include "model/parallel/tensor_group.h"

namespace trib::model {

/// y = x W^T + b where each rank holds the columns `own` of W and the inputs that belong to them.
/// The products of the ranks are added up, then the bias once.
class RowParallelLinear {
 public:
  RowParallelLinear(ParameterTable& table, const std::string& name, std::int64_t in,
                    std::int64_t out, const std::vector<Range>& own, const TensorGroup& group);

  /// y_ro is complete on every rank, and float32 unless a rank is alone, which may also have the
  /// result added to it.
  void forward(const Parameters& parameters, FloatPtr y_ro, ConstFloatPtr x_ri, std::int64_t rows,
               bool accumulate = false) const;
  /// y_ro is this rank's part of the sum, without the bias.
  void forward_partial(const Parameters& parameters, float* y_ro, ConstFloatPtr x_ri,
                       std::int64_t rows) const;
  void add_bias(const Parameters& parameters, float* y_ro, std::int64_t rows) const;

  /// From the complete dy_ro; dx_ri is written, gradients are added to. Sends nothing.
  void backward_input(const Parameters& parameters, FloatPtr dx_ri, ConstFloatPtr dy_ro,
                      std::int64_t rows) const;
  void backward_weight(Parameters& parameters, ConstFloatPtr dy_ro, ConstFloatPtr x_ri,
                       std::int64_t rows) const;

  std::int64_t flops(std::int64_t rows) const { return linear_.flops(rows); }

 private:
  Linear linear_;
  ParameterId bias_;
  const TensorGroup& group_;
};

}  // namespace trib::model
