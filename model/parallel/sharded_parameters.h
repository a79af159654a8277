// The parameters of a training: held, gathered, reduced as a sharding strategy says.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "model/optimizer.h"
#include "model/parallel/sharding.h"
#include "model/parallel/tensor_group.h"
#include "model/state_piece.h"
#include "ops/comm/communicator.h"

namespace trib::model {

/// Values and gradients of a model whose samples, and perhaps parameters, are shared by ranks.
///
/// The model works on parameters(), and tells through Parameters::enter() which unit comes next:
/// its values are then gathered (strategy full: into one of two slots, so that at most two units
/// are there at any time; grad_op: in place), and when the backward pass leaves a unit, the
/// reduction of its gradients starts and goes on beside the backward pass of the next. At bf16 it
/// also sees to the copies that products read: made from gathered values, or gathered themselves.
///
/// A step: begin_step(), then for each micro-batch the forward pass, begin_backward(), the backward
/// pass; then finish_backward(), and after the update values_changed(). A forward pass without
/// backward ends with end_forward(). Collective over all ranks.
class ShardedParameters : private UnitVisitor {
 public:
  ShardedParameters(const ParameterTable& table, const TensorGroup& group, ShardingPlan plan,
                    ops::Communicator& communicator);
  ShardedParameters(const ShardedParameters&) = delete;
  ShardedParameters& operator=(const ShardedParameters&) = delete;

  /// What layers compute with.
  Parameters& parameters() { return parameters_; }
  const ShardingPlan& plan() const { return plan_; }

  /// Draw initial values; the same on any mesh.
  void initialize(std::uint64_t seed);

  void begin_step();
  /// `is_last`: reduce the gradients of units as they are complete.
  void begin_backward(bool is_last);
  /// Wait until all gradients are reduced: sums over all ranks with different samples.
  void finish_backward();
  void end_forward();
  /// The own shards of the values are new: what was gathered is old. `with_copies`: so are the
  /// bfloat16 copies in shards().
  void values_changed(bool with_copies = false);

  /// Of the own shards, after finish_backward(); with bfloat16 copies where all is held. Good until
  /// the next call.
  const std::vector<UnitShard>& shards();
  /// Euclidean norm of the gradients of the whole model, in double: each element counts once,
  /// whatever the mesh. The same on all ranks.
  double gradient_norm() const;

  /// All that this rank holds of values and moments.
  std::vector<StatePiece> held_state(AdamW& optimizer);
  /// The part of it that this rank writes down: see ShardingPlan::written_pieces.
  std::vector<StatePiece> written_state(AdamW& optimizer);

  /// All values of this rank of the tensor axis, laid out by ShardLayout::unit_begin; gathered if
  /// they are sharded. Between steps or after a forward pass.
  Tensor whole_values();
  /// The same of the reduced gradients, after finish_backward().
  Tensor whole_gradients();

 private:
  struct Slot {
    Tensor buffer;
    int unit = -1;  // in it, or on its way
    ops::Pending pending;
  };

  void enter(int unit, int next, Pass pass) override;
  void leave();
  void gather(int unit);
  void complete_gather(int unit);
  void make_bf16(int unit);
  void place_gradients(int unit);
  void reduce(int unit);
  void reduce_in_bf16(int unit);
  void settle_scattered();
  void settle_bf16(int unit);

  std::vector<StatePiece> state_of(const std::vector<ShardPiece>& pieces, AdamW& optimizer);
  float* own_values(int unit);
  float* own_gradients(int unit);
  float* unreduced_gradients(int unit);
  Tensor gather_all(const std::function<const float*(int)>& own);
  template <class T>
  static auto& slot_of(T& slots, int unit) {
    return slots[static_cast<std::size_t>(unit % 2)];
  }

  const ParameterTable& table_;
  const TensorGroup& group_;
  ShardingPlan plan_;
  ops::Communicator& communicator_;
  Parameters parameters_;
  Tensor values_;                        // none and grad_op: all units; full: own shards
  Tensor gradients_;                     // none: all units; else: own shards
  Tensor unreduced_;                     // all units, if they are kept over micro-batches
  std::array<Slot, 2> gathered_;         // full
  std::array<Slot, 2> computed_;         // gradients until they are reduced
  std::vector<ops::Pending> gathers_;    // grad_op: by unit
  std::vector<bool> is_fresh_;           // grad_op: gathered, or on the way, since the last update
  Tensor bf16_;                          // none and grad_op: of all units that have them
  std::vector<bool> is_bf16_stale_;      // none and grad_op
  std::array<Tensor, 2> bf16_gathered_;  // full
  std::array<Slot, 2> bf16_reduced_;     // collectives in bf16: a unit, then its shard

  int unit_ = -1;  // that the model works on
  Pass pass_ = Pass::forward;
  bool is_reducing_ = false;
  int scattered_ = -1;  // unit whose gradients are being reduced over the shard axis
  ops::Pending scatter_;
  std::vector<ops::Pending> reductions_;  // all others
  std::vector<UnitShard> shards_;         // kept, so that steps allocate nothing
};

}  // namespace trib::model
