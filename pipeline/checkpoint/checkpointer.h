// Writes the checkpoints of a running training.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint_writer.h"
#include "model/parameters.h"
#include "model/state_piece.h"
#include "ops/base/memory_ledger.h"
#include "ops/comm/communicator.h"
#include "pipeline/engine/step_agreement.h"
#include "pipeline/graph/parameter.h"

namespace trib::pipeline {

/// When checkpoints are written and how many stay: the graph's section `checkpoints`.
struct CheckpointSettings {
  std::int64_t every = 0;  ///< steps; 0: steps are not counted
  double minutes = 0;      ///< 0: the clock is not asked
  std::int64_t keep = 0;   ///< 0: none is written

  static CheckpointSettings of(const ParameterValues& section);
};

/// Bytes of the buffer in which a rank keeps what it writes: MemoryKind::checkpoint.
std::int64_t snapshot_bytes(const std::vector<model::StatePiece>& written_state);

/// One rank's part. A checkpoint is copied after an update, and written by a thread of its own
/// while training goes on. The ranks learn from the votes of the steps that follow when all are
/// done; then rank 0 gives it its name. All ranks call the same functions after the same steps.
class Checkpointer {
 public:
  struct Options {
    CheckpointSettings settings;
    std::string run_folder;
    std::int64_t last_good = 0;  ///< step of the checkpoint the run came from, 0 for none
    /// Called on rank 0 with what a person must see.
    std::function<void(const std::string&)> warn;
  };
  /// Allocates the buffer for `written_state`, which is what Trainer::written_state() gives.
  Checkpointer(Options options, ops::Communicator& communicator, const model::ParameterTable& table,
               const std::vector<model::StatePiece>& written_state);
  /// Waits for what is being written.
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  /// Add what this rank has to say at the end of a step.
  void vote(StepVotes& own) const;
  /// Act on what the ranks agreed on in step `step`; true if a checkpoint of this step begins, for
  /// begin() to be called next. One that is due while the last is being written begins as soon as
  /// that is done. With `is_last` one always begins, and this waits for those before.
  bool is_due(std::int64_t step, const StepVotes& agreed, bool is_last);
  /// Copy the state, and write it with `training` (of rank 0) from now on.
  void begin(std::int64_t step, const std::vector<model::StatePiece>& written_state,
             std::string training);
  /// Wait until the checkpoint of the last step has its name. Throws RuntimeError with file and
  /// reason, on all ranks, if it could not be written.
  void finish();

 private:
  class Worker;
  enum class Phase : std::uint8_t { idle, writing, naming };

  void advance(const StepVotes& agreed);
  void settle_all();
  std::string shared_error();
  void give_up();
  void name_checkpoint();

  Options options_;
  ops::Communicator& communicator_;
  std::string folder_;
  std::map<std::string, io::CheckpointTensor> tensors_;
  std::unique_ptr<Buffer> buffer_;
  std::vector<io::PieceData> pieces_;  // of the buffer
  Phase phase_ = Phase::idle;
  std::int64_t step_ = 0;  // of the checkpoint under way
  std::string training_;
  bool is_last_ = false;
  bool is_due_ = false;  // and waits for the one under way
  std::int64_t last_good_;
  std::string failure_;                          // of the last checkpoint, the same on all ranks
  std::chrono::steady_clock::time_point began_;  // the last one, or the training
  std::unique_ptr<Worker> worker_;
};

}  // namespace trib::pipeline
