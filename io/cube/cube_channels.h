// Choosing channels of hyperspectral cubes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/image.h"

namespace trib::io {

/// Positions of the selected channels in `available`: select_channels(), and wavelengths that stand
/// for the nearest channel.
std::vector<std::int64_t> select_cube_channels(const std::vector<Channel>& available,
                                               const std::vector<std::string>& selection,
                                               const std::string& file);

}  // namespace trib::io
