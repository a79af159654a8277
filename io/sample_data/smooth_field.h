// Spatially coherent random fields.
#pragma once

#include <vector>

#include "ops/base/random.h"

namespace trib::io {

/// A random field [height, width] of mean 0 and variance 1, with features of about `scale` pixels
/// and finer ones, of each next half size `roughness` times the amplitude, down to two pixels.
std::vector<float> smooth_field(const RandomStream& random, int height, int width, double scale,
                                double roughness = 0.5);

}  // namespace trib::io
