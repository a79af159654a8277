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
      collectives(options.collectives),
      mesh(mesh_shape),
      place(at),
      layout(shards_gradients() ? ShardLayout(table, mesh.shard, place.shard)
                                : ShardLayout(table)) {}

std::int64_t ShardingPlan::values() const {
  return shards_values() ? layout.own_size() : layout.whole_size();
}

std::int64_t ShardingPlan::gradients() const {
  return layout.own_size();
}

std::int64_t ShardingPlan::unreduced_gradients() const {
  return shards_gradients() && accumulate > 1 ? layout.whole_size() : 0;
}

std::int64_t ShardingPlan::bf16_values() const {
  std::int64_t elements = 0;
  for (int unit = 0; unit < layout.units() && !shards_values(); ++unit) {
    if (has_bf16(unit)) elements += layout.unit_size(unit);
  }
  return elements;
}

// The most elements(unit) of the units of each parity.
template <class Elements>
ShardingPlan::Slots ShardingPlan::largest(const Elements& elements) const {
  Slots slots{};
  for (int unit = 0; unit < layout.units(); ++unit) {
    std::int64_t& slot = slots[static_cast<std::size_t>(unit % 2)];
    slot = std::max<std::int64_t>(slot, elements(unit));
  }
  return slots;
}

ShardingPlan::Slots ShardingPlan::gradient_slots() const {
  if (!has_gradient_slots()) return {};
  return largest([&](int unit) { return layout.unit_size(unit); });
}

ShardingPlan::Slots ShardingPlan::value_slots() const {
  if (!shards_values()) return {};
  return largest([&](int unit) {
    return gathers_bf16(unit) ? layout.table().unit(unit).others : layout.unit_size(unit);
  });
}

ShardingPlan::Slots ShardingPlan::bf16_slots() const {
  if (!shards_values()) return {};
  return largest([&](int unit) { return has_bf16(unit) ? layout.unit_size(unit) : 0; });
}

ShardingPlan::Slots ShardingPlan::reduction_slots() const {
  const bool reduces = shards_gradients() || mesh.size(ops::MeshAxis::samples) > 1;
  if (collectives != Precision::bf16 || !reduces) return {};
  return largest([&](int unit) {
    return layout.unit_size(unit) + (shards_gradients() ? layout.shard_size(unit) : 0);
  });
}

std::int64_t ShardingPlan::communication_bytes() const {
  const auto both = [](const Slots& slots) { return slots[0] + slots[1]; };
  return 4 * (both(gradient_slots()) + both(value_slots())) +
         2 * (both(bf16_slots()) + both(reduction_slots()));
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
