// Gradients of which each rank of a tensor group has a part.
#pragma once

#include "model/parallel/tensor_group.h"
#include "model/parameters.h"

namespace trib::model {

/// Add up, over the group, the gradients of which each rank has a part only (norms under sequence
/// parallelism, the tokenizer under head-parallel aggregation). To be called once after backward,
/// for a unit or all of them.
void reduce_partial_gradients(Parameters& parameters, int unit, const TensorGroup& group);
void reduce_partial_gradients(Parameters& parameters, const TensorGroup& group);
/// Bytes it takes for a moment, of MemoryKind::communication.
std::int64_t partial_gradient_bytes(const ParameterTable& table, const TensorGroup& group);

}  // namespace trib::model
