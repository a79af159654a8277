// Strategies by which ranks with different samples share parameters, gradients and optimizer state.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "model/parallel/shard_layout.h"
#include "model/parallel/tensor_group.h"
#include "ops/comm/mesh.h"

namespace trib::model {

/// What is sharded over the ranks of the shard axis (ZeRO, Rajbhandari et al., 2020; FSDP). Over
/// the data axis everything is replicated.
enum class ShardingStrategy : std::uint8_t {
  none,     ///< nothing: the shard axis is more of the data axis (DDP)
  grad_op,  ///< gradients and optimizer state (ZeRO-2, SHARD_GRAD_OP)
  full,     ///< parameters too (ZeRO-3, FULL_SHARD)
  hybrid,   ///< full, on a mesh that has both axes (HYBRID_SHARD)
};

/// When the values of the next unit are asked for.
enum class Prefetch : std::uint8_t {
  none,           ///< when the model turns to it
  backward_pre,   ///< before the backward pass of the present unit (of the forward pass: too)
  backward_post,  ///< after it, before the gradients of the present unit are reduced
};

struct ShardingOptions {
  ShardingStrategy strategy = ShardingStrategy::full;
  Prefetch prefetch = Prefetch::backward_pre;
  /// Backward passes whose gradients are added up before they are reduced, once.
  std::int64_t accumulate = 1;
  /// What gradients are added up in over the shard axis (without sharding: over all ranks with
  /// other samples), and what full gathers of units with operands of products at bf16. bf16 halves
  /// that traffic (FSDP's reduce_dtype and param_dtype); master weights, and what each rank adds up
  /// by itself, stay float32.
  Precision collectives = Precision::fp32;
};

/// Sizes of what a rank holds, in elements, as functions of the table and the mesh. What is said
/// here is float32; bfloat16 adds to it, see bf16_values() and communication_bytes().
///
/// With P the elements of all units (padded to multiples of the s ranks of the shard axis), and G
/// those of the largest unit of even number plus the largest of odd number:
///
/// | strategy | parameters | gradients | optimizer | communication            |
/// |----------|------------|-----------|-----------|--------------------------|
/// | none     | P          | P         | 2 P       | 0                        |
/// | grad_op  | P          | P/s       | 2 P/s     | G (gradients)            |
/// | full     | P/s        | P/s       | 2 P/s     | G (values) + G (gradients) |
///
/// Accumulation needs gradients that are not yet reduced to stay: sharded gradients then take
/// P + P/s, and communication no G for them. Hybrid is full; with s = 1 every strategy is none.
struct ShardingPlan {
  /// Throws ConfigError for hybrid on a mesh that lacks one of its axes.
  ShardingPlan(const ParameterTable& table, const ShardingOptions& options,
               const ops::MeshShape& mesh, const ops::MeshCoordinates& place);

  bool shards_gradients() const { return strategy != ShardingStrategy::none; }
  bool shards_values() const { return strategy == ShardingStrategy::full; }
  /// Whether gradients of a unit stand in a slot until they are reduced.
  bool has_gradient_slots() const { return shards_gradients() && accumulate == 1; }

  /// Elements of the buffers.
  std::int64_t values() const;
  std::int64_t gradients() const;            ///< reduced or not
  std::int64_t unreduced_gradients() const;  ///< beyond gradients(): kept over micro-batches
  std::int64_t moments() const { return layout.own_size(); }  ///< of each of AdamW's two
  /// Elements of the copies that products read, beside values(): of all units, unless those come
  /// and go (strategy full).
  std::int64_t bf16_values() const;
  /// Bytes of all slots. A slot takes the units of one parity: neighbours have different ones.
  std::int64_t communication_bytes() const;
  using Slots = std::array<std::int64_t, 2>;  ///< elements, by parity
  Slots gradient_slots() const;               ///< gradients until they are reduced
  Slots value_slots() const;                  ///< gathered values
  Slots bf16_slots() const;                   ///< gathered values, for products
  Slots reduction_slots() const;              ///< bfloat16 gradients on their way: unit and shard

  /// Whether a unit is gathered in bfloat16; of it, float32 is what products do not read.
  bool gathers_bf16(int unit) const {
    return shards_values() && collectives == Precision::bf16 && has_bf16(unit);
  }
  bool has_bf16(int unit) const { return layout.table().unit(unit).has_bf16; }
  /// The parts of layout.pieces() that this rank of `group` writes into a checkpoint: ranks that
  /// hold the same share the writing, so that over all ranks every element is written once.
  std::vector<ShardPiece> written_pieces(const TensorGroup& group) const;

  ShardingStrategy strategy;
  Prefetch prefetch;
  std::int64_t accumulate;
  Precision collectives;
  ops::MeshShape mesh;
  ops::MeshCoordinates place;
  ShardLayout layout;

 private:
  template <class Elements>
  Slots largest(const Elements& elements) const;
};

}  // namespace trib::model
