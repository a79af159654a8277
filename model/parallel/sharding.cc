#include "model/parallel/sharding.h"

#include <algorithm>

namespace trib::model {

ShardingPlan::ShardingPlan(const ParameterTable& table, const ShardingOptions& options,
                           const ops::MeshShape& mesh_shape, const ops::MeshCoordinates& at)
    : strategy(mesh_shape.shard == 1 ? ShardingStrategy::none : options.strategy),
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

}  // namespace trib::model
