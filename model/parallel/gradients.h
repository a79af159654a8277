// Gradients and their norm over the ranks of a tensor group.
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

/// Euclidean norm of the gradients of the whole model, in double: what ranks hold parts of is added
/// up, what they hold alike counts once. The same on all ranks.
double gradient_norm(const Parameters& parameters, const TensorGroup& group);

}  // namespace trib::model
