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

  /// y_ro is complete on every rank.
  void forward(const Parameters& parameters, float* y_ro, const float* x_ri,
               std::int64_t rows) const;
  /// y_ro is this rank's part of the sum, without the bias.
  void forward_partial(const Parameters& parameters, float* y_ro, const float* x_ri,
                       std::int64_t rows) const;
  void add_bias(const Parameters& parameters, float* y_ro, std::int64_t rows) const;

  /// From the complete dy_ro; dx_ri is written, gradients are added to. Sends nothing.
  void backward(Parameters& parameters, float* dx_ri, const float* dy_ro, const float* x_ri,
                std::int64_t rows) const;

  std::int64_t flops(std::int64_t rows) const { return linear_.flops(rows); }

 private:
  Linear linear_;
  ParameterId bias_;
  const TensorGroup& group_;
};

}  // namespace trib::model
