// Stacking samples.
#pragma once

#include <vector>

#include "pipeline/stage/flow.h"

namespace trib::pipeline {

/// Stack samples of one shape into a batch. Samples that lie side by side in memory are not copied.
Batch collate(std::vector<Sample> samples);

}  // namespace trib::pipeline
