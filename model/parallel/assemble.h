// Whole tensors out of the parts that ranks hold.
#pragma once

#include <cstdint>

#include "model/parallel/tensor_group.h"
#include "ops/base/split.h"
#include "ops/base/tensor.h"

namespace trib::model {

/// The whole of a tensor of which each rank holds `part`, cut by `split` along an axis of `extent`
/// elements; a copy of `part` if the split is inactive. f32. Collective over the group.
Tensor assemble(const Tensor& part, std::int64_t extent, const TensorSplit& split,
                const TensorGroup& group);

}  // namespace trib::model
