// Images whose channels are means of the bands of others.
#pragma once

#include <memory>
#include <vector>

#include "io/cube/spectral_plan.h"
#include "io/image_source.h"

namespace trib::io {

/// Images with the channels of a plan. `bands` are what the plan's positions refer to; its values
/// are multiplied by `factor`. Only bands that kept channels need are read. Where the plan takes
/// all bands as they are in their order, they are read in place, without a copy.
std::unique_ptr<ImageSource> mix_bands(std::unique_ptr<ImageSource> bands,
                                       std::vector<SpectralChannel> plan, double factor = 1);

}  // namespace trib::io
