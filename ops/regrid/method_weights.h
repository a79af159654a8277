// The makers of each method's weights. Arguments and errors as for regrid_weights().
#pragma once

#include "ops/regrid/regrid_weights.h"

namespace trib::ops {

RegridWeights bilinear_weights(const RegularGrid& source, const RegularGrid& target,
                               bool allow_outside);
RegridWeights nearest_weights(const RegularGrid& source, const RegularGrid& target,
                              bool allow_outside);
RegridWeights conservative_weights(const RegularGrid& source, const RegularGrid& target,
                                   bool allow_outside);

/// The error of a target outside the source.
[[noreturn]] void refuse_outside(const char* axis, double target, double first, double last,
                                 const char* why = "");

}  // namespace trib::ops
