// What a checkpoint holds besides tensors: where a training stood.
#pragma once

#include <cstdint>
#include <string>

#include "ops/comm/mesh.h"
#include "pipeline/engine/sampler.h"
#include "pipeline/stage/stage.h"

namespace trib::pipeline {

/// The `training` object of a checkpoint's index. With the tensors it is all that a training needs
/// to go on. There is no state of random numbers: each is a function of the seed, a name, and the
/// step or the position of the sample.
struct TrainingState {
  std::int64_t step = 0;  ///< updates done
  std::int64_t epoch = 0;
  double seconds = 0;  ///< of training so far, over all attempts
  std::uint64_t seed = 0;
  ops::MeshShape mesh;       ///< of the ranks that wrote it
  std::uint64_t stream = 0;  ///< Sampler::fingerprint()
  ConsumedSamples consumed;
  double next_lr = 0;     ///< for people, as is the schedule: the graph to resume with decides
  TrainingPlan schedule;  ///< lr, start_lr, min_lr, warmup_steps and steps alone
  std::string graph;      ///< resolved, as YAML
  std::string program;    ///< version that wrote it

  std::string to_json() const;
  /// Throws DataError naming `path` and the key that is missing, unknown or of another kind.
  static TrainingState from_json(const std::string& text, const std::string& path);
};

}  // namespace trib::pipeline
