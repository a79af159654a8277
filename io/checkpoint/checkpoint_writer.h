// Writing a checkpoint: every rank its file, then one of them the index.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint_index.h"

namespace trib::io {

/// Elements to write; `data` must stay until they are.
struct PieceData {
  std::string tensor, state;
  TensorSplit split = {};
  Range elements;
  const float* data = nullptr;
};

/// A checkpoint FOLDER/step-N in the making. It is written in FOLDER/step-N.tmp and takes its name
/// when all ranks are done: a kill at any instant leaves what was there before, and at most a .tmp
/// folder that nobody takes for a checkpoint.
///
/// All functions throw RuntimeError naming the file and the system's reason ("No space left on
/// device").
class CheckpointWriter {
 public:
  /// Every rank makes one, `folder` being "RUN/checkpoints".
  CheckpointWriter(std::string folder, std::int64_t step);

  /// Write rank-RRRRR.safetensors and its part of the index, and flush both to disk. Pieces without
  /// elements are left out; a rank without pieces writes a file without tensors. Called by each
  /// rank; blocks.
  void write_rank(int rank, const std::vector<PieceData>& pieces) const;
  /// Join the parts of `ranks` ranks into index.json, flush it and the folder, rename the folder to
  /// step-N and then point `latest` at it. Called by one rank after write_rank has returned on all.
  /// What does not cover all elements never takes the name. A folder step-N that is there already
  /// is kept if it is a valid checkpoint, and the new one dropped; else it is set aside as
  /// step-N.damaged (or .damaged-2, ...). Once there is a step-N this does not fail: `latest` is
  /// then left as it is if it cannot be changed. Returns the path of step-N.
  std::string commit(int ranks, const std::map<std::string, CheckpointTensor>& tensors,
                     const std::string& training) const;
  /// Remove what was written. Called by one rank when none writes any more.
  void discard() const;

 private:
  std::string folder_;
  std::int64_t step_;
  std::string path_;       // FOLDER/step-N
  std::string temporary_;  // FOLDER/step-N.tmp
};

/// Remove all but the newest `keep` checkpoints of a folder. What `latest` points at stays. A
/// checkpoint is renamed to step-N.removed before its files go. A checkpoint in the making is left
/// alone. Throws RuntimeError.
void prune_checkpoints(const std::string& folder, std::int64_t keep);
/// Give all checkpoints that are newer than FOLDER/step-N the name step-M.damaged (or .damaged-2,
/// ...), and let `latest` point at step-N. For one who goes on from it and has found the newer ones
/// to be damaged: they are to be written again, and not to count as kept. Throws RuntimeError.
void set_newer_aside(const std::string& checkpoint);
/// Remove what killed runs left behind: step-N.tmp, step-N.removed, latest.tmp. Only when no rank
/// is writing a checkpoint there. Throws RuntimeError.
void clean_checkpoints(const std::string& folder);

}  // namespace trib::io
