#include "model/parallel/sharding.h"

#include <algorithm>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::model {
namespace {

ShardingStrategy strategy_on(const ops::MeshShape& mesh, ShardingStrategy strategy) {
  if (strategy == ShardingStrategy::hybrid) {
    if (mesh.shard == 1 || mesh.data == 1) {
      throw ConfigError(fmt::format(
          "sharding: hybrid shards inside groups of ranks and replicates between them: the mesh "
          "needs shard and data above 1, found {}",
          mesh.to_string()));
    }
    return ShardingStrategy::full;
  }
  return mesh.shard == 1 ? ShardingStrategy::none : strategy;
}

}  // namespace

ShardingPlan::ShardingPlan(const ParameterTable& table, const ShardingOptions& options,
                           const ops::MeshShape& mesh_shape, const ops::MeshCoordinates& at)
    : strategy(strategy_on(mesh_shape, options.strategy)),
      prefetch(options.prefetch),
      accumulate(options.accumulate),
      mesh(mesh_shape),
      place(at),
      layout(shards_gradients() ? ShardLayout(table, mesh.shard, place.shard)
                                : ShardLayout(table)) {
  for (int unit = 0; unit < layout.units(); ++unit) {
    std::int64_t& slot = slots[static_cast<std::size_t>(unit % 2)];
    slot = std::max(slot, layout.unit_size(unit));
  }
}

std::int64_t ShardingPlan::values() const {
  return shards_values() ? layout.own_size() : layout.whole_size();
}

std::int64_t ShardingPlan::gradients() const {
  return layout.own_size();
}

std::int64_t ShardingPlan::unreduced_gradients() const {
  return shards_gradients() && accumulate > 1 ? layout.whole_size() : 0;
}

std::int64_t ShardingPlan::slot_elements() const {
  const std::int64_t pair = slots[0] + slots[1];
  return (shards_values() ? pair : 0) + (has_gradient_slots() ? pair : 0);
}

std::vector<ShardPiece> ShardingPlan::written_pieces(const TensorGroup& group) const {
  std::vector<ShardPiece> written;
  for (ShardPiece piece : layout.pieces()) {
    std::int64_t replicas = mesh.data, number = place.data;
    if (!shards_gradients()) {
      number = number * mesh.shard + place.shard;
      replicas *= mesh.shard;
    }
    if (!layout.table().spec(piece.id).split.active()) {
      number = number * group.size() + group.rank();
      replicas *= group.size();
    }
    const Range part = balanced_part(piece.elements.size(), number, replicas);
    if (part.size() == 0) continue;
    piece.elements = {piece.elements.begin + part.begin, piece.elements.begin + part.end};
    piece.at += part.begin;
    written.push_back(piece);
  }
  return written;
}

}  // namespace trib::model
