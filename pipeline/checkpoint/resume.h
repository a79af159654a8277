// Finding the checkpoint a training goes on from, and taking it up.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint.h"
#include "model/parameters.h"
#include "model/state_piece.h"
#include "pipeline/checkpoint/training_state.h"

namespace trib::pipeline {

/// Path of the newest checkpoint of a run folder that is whole: every byte is checked. `warn` is
/// told of each damaged one that is passed over, with file and tensor. Empty if the folder has no
/// checkpoint; throws DataError saying what is wrong with each if none is whole.
std::string newest_valid_checkpoint(const std::string& run_folder,
                                    const std::function<void(const std::string&)>& warn);

/// Throws ConfigError that lists the first differences unless the checkpoint is of this model: the
/// same parameters with the same global shapes, divided in whatever way.
void check_model(const io::Checkpoint& checkpoint, const model::ParameterTable& table);

/// What a run is about to do, to be compared with what a checkpoint says.
struct ResumingRun {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;  ///< Sampler::fingerprint()
  std::string graph;         ///< resolved, as YAML
};
/// Throws ConfigError, with the values of the graph that changed, if the run would draw other
/// random numbers or samples than the one that wrote the checkpoint.
void check_stream(const TrainingState& state, const ResumingRun& run,
                  const std::string& checkpoint);

/// Values that differ between two resolved graphs: "train.lr: 1e-3 -> 2e-3".
std::vector<std::string> changed_values(const std::string& before, const std::string& after);

/// Fill in `held_state`, which is what Trainer::held_state() gives, from a checkpoint of any mesh.
/// Throws DataError naming file and tensor.
void restore(const io::Checkpoint& checkpoint, const model::ParameterTable& table,
             const std::vector<model::StatePiece>& held_state);

}  // namespace trib::pipeline
