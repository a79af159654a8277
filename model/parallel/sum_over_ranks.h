// Products of which each rank of a tensor group computes a summand.
#pragma once

#include <cstdint>

#include "model/parallel/tensor_group.h"
#include "ops/base/step_arena.h"
#include "ops/kernels/activation.h"

namespace trib::model {

/// compute(FloatPtr) writes this rank's summand of `count` elements; `sum` gets the total. Summands
/// are float32, whatever the type of `sum`.
template <class Compute>
void sum_over_ranks(const TensorGroup& group, StepArena& arena, FloatPtr sum, std::int64_t count,
                    const Compute& compute) {
  if (group.is_alone()) return compute(sum);
  const StepArena::Scope scope(arena);
  float* summand = sum.is_bf16() ? arena.floats(count) : sum.as<float>();
  compute(FloatPtr(summand));
  group.all_reduce(summand, count);
  if (sum.is_bf16()) ops::convert(sum, summand, count);
}

}  // namespace trib::model
