#include "model/parallel/shard_layout.h"

#include <algorithm>

namespace trib::model {

ShardLayout::ShardLayout(const ParameterTable& table, int ranks, int rank)
    : table_(&table), ranks_(ranks), rank_(rank), unit_begins_{0} {
  const std::int64_t multiple = ParameterTable::kAlignment * ranks;
  for (const ParameterUnit& unit : table.units()) {
    const std::int64_t padded = (unit.size + multiple - 1) / multiple * multiple;
    unit_begins_.push_back(unit_begins_.back() + padded);
  }
  for (ParameterId id = 0; id < std::ssize(table.specs()); ++id) {
    const ParameterSpec& spec = table.spec(id);
    const std::int64_t shard = shard_size(spec.unit), begin = rank * shard;  // in the unit
    const std::int64_t from = std::max(spec.offset, begin);
    const std::int64_t to = std::min(spec.offset + spec.local().numel(), begin + shard);
    if (from >= to) continue;
    pieces_.push_back({.id = id,
                       .elements = {from - spec.offset, to - spec.offset},
                       .at = shard_begin(spec.unit) + from - begin});
  }
}

}  // namespace trib::model
