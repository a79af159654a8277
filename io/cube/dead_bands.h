// Bands in which a cube holds nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "io/image_source.h"

namespace trib::io {

/// Channels that are missing at all pixels of small windows in the first image at which any channel
/// is not: in the middle and, if some channel is missing there, in four places around it as well.
/// Reads those windows. Throws what reading throws.
std::vector<std::int64_t> find_dead_bands(const ImageSource& cubes);

}  // namespace trib::io
