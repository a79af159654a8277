// Linear maps of a chain, shared by the ranks in pairs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/modules.h"
#include "model/parallel/row_parallel_linear.h"
#include "model/parallel/tensor_group.h"
#include "ops/base/step_arena.h"

namespace trib::model {

/// Number `place` of a chain of `length` linear maps [dim, dim] with pointwise functions in
/// between. Two neighbours form Megatron's pair: of the first, each rank computes a part of the
/// outputs, which the second takes as its part of the inputs. One that is left over is computed by
/// all.
class ChainLinear {
 public:
  ChainLinear(ParameterTable& table, const std::string& name, std::int64_t dim, std::int64_t place,
              std::int64_t length, const TensorGroup& group);

  /// x_ri and y_ro are operands of products. The arena lends memory for a moment.
  void forward(const Parameters& parameters, StepArena& arena, FloatPtr y_ro, ConstFloatPtr x_ri,
               std::int64_t rows) const;
  /// The GELU of it; y_ro is kept for the backward pass.
  void forward_gelu(const Parameters& parameters, StepArena& arena, FloatPtr activated_ro,
                    FloatPtr y_ro, ConstFloatPtr x_ri, std::int64_t rows) const;
  /// dx_ri, of the operands' type or float32, is written, and is complete where x is replicated.
  void backward_input(const Parameters& parameters, StepArena& arena, FloatPtr dx_ri,
                      ConstFloatPtr dy_ro, std::int64_t rows) const;
  void backward_weight(Parameters& parameters, ConstFloatPtr dy_ro, ConstFloatPtr x_ri,
                       std::int64_t rows) const;
  std::int64_t flops(std::int64_t rows) const;
  std::int64_t out() const { return out_; }  ///< of this rank

 private:
  const TensorGroup& group_;
  std::int64_t dim_, out_;
  bool is_first_;  // of a pair
  std::optional<Linear> linear_;
  std::optional<RowParallelLinear> second_;
};

}  // namespace trib::model
