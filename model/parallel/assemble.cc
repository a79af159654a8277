#include "model/parallel/assemble.h"

#include <algorithm>

namespace trib::model {

Tensor assemble(const Tensor& part, std::int64_t extent, const TensorSplit& split,
                const TensorGroup& group) {
  if (!split.active()) return part.clone();
  Shape shape = part.shape();
  shape[split.axis] = extent;
  Tensor whole = Tensor::zeros(shape);
  const float* from = part.data<float>();
  float* to = whole.data<float>();
  for_each_run(shape, split, [=](std::int64_t local, std::int64_t global, std::int64_t count) {
    std::copy_n(from + local, count, to + global);
  });
  group.all_reduce(to, whole.numel());  // every element comes from one rank
  return whole;
}

}  // namespace trib::model
