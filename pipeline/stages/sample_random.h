// Random numbers that belong to a sample, on whatever rank and thread it is made.
#pragma once

#include "ops/base/random.h"
#include "pipeline/stage/flow.h"

namespace trib::pipeline {

/// The substream of a stage's random numbers for the sample of a request.
inline RandomStream sample_random(const RandomStream& stage, Split split,
                                  const SampleRequest& request) {
  return stage.substream(split == Split::train ? 0 : 1)
      .substream(static_cast<std::uint64_t>(request.epoch))
      .substream(static_cast<std::uint64_t>(request.source))
      .substream(static_cast<std::uint64_t>(request.item))
      .substream(static_cast<std::uint64_t>(request.piece));
}

}  // namespace trib::pipeline
