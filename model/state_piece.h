// The state of a training as checkpoints see it.
#pragma once

#include <cstdint>

#include "model/parameters.h"

namespace trib::model {

/// What there is of an element: its value, exp_avg and exp_avg_sq.
inline constexpr std::int64_t kStatesOfElement = 3;

/// Where a run of elements of a parameter, and of AdamW's moments for them, stand on this rank.
struct StatePiece {
  ParameterId id = 0;
  Range elements;  ///< of the parameter's part on this rank of the tensor axis, flat
  float* value = nullptr;
  float* exp_avg = nullptr;
  float* exp_avg_sq = nullptr;
};

}  // namespace trib::model
