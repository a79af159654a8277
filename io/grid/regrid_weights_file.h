// Weights of regridding kept on disk.
#pragma once

#include <string>

#include "ops/regrid/regrid_weights.h"

namespace trib::io {

/// ops::regrid_weights(), kept in `folder` (made if it is not there): in a safetensors file whose
/// name ends in a hash of both grids, their cells' edges, the method and the version of the
/// computation. A file that is damaged or of something else is replaced. Files appear whole, so any
/// number of processes may ask at once. With an empty `folder` nothing is kept.
/// Throws ConfigError as ops::regrid_weights(), RuntimeError if the folder cannot be written.
ops::RegridWeights kept_regrid_weights(const ops::RegularGrid& source,
                                       const ops::RegularGrid& target, ops::RegridMethod method,
                                       bool allow_outside, const std::string& folder);

/// Name of the file that holds these weights.
std::string regrid_weights_name(const ops::RegularGrid& source, const ops::RegularGrid& target,
                                ops::RegridMethod method, bool allow_outside);

}  // namespace trib::io
