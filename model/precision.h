// The number format a model computes in.
#pragma once

#include <cstdint>

#include "ops/base/dtype.h"

namespace trib::model {

/// bf16 is mixed precision (Micikevicius et al., 2018; Kalamkar et al., 2019): the matrix products
/// of the transformer and the heads read bfloat16 weights and activations and add up in float32.
/// Master weights, gradients of parameters, optimizer, residual stream, norms, softmax, losses and
/// the channel aggregation are float32.
enum class Precision : std::uint8_t { fp32, bf16 };

/// Type of the operands of matrix products.
inline DType operand_type(Precision precision) {
  return precision == Precision::bf16 ? DType::bf16 : DType::f32;
}

}  // namespace trib::model
