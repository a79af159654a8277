#include "ops/comm/traffic_ledger.h"

namespace trib::ops {

std::string_view name_of(Collective collective) {
  constexpr std::array<std::string_view, kCollectives> kNames{"all_reduce", "reduce_scatter",
                                                              "all_gather", "broadcast", "barrier"};
  return kNames[static_cast<std::size_t>(collective)];
}

void TrafficLedger::record(Collective collective, MeshAxis axis, std::int64_t bytes) {
  Counter& counter =
      counters_[static_cast<std::size_t>(collective)][static_cast<std::size_t>(axis)];
  counter.calls.fetch_add(1, std::memory_order_relaxed);
  counter.bytes.fetch_add(bytes, std::memory_order_relaxed);
}

Traffic TrafficLedger::traffic(Collective collective, MeshAxis axis) const {
  const Counter& counter =
      counters_[static_cast<std::size_t>(collective)][static_cast<std::size_t>(axis)];
  return {counter.calls.load(std::memory_order_relaxed),
          counter.bytes.load(std::memory_order_relaxed)};
}

TrafficLedger::Snapshot TrafficLedger::snapshot() const {
  Snapshot all;
  for (std::size_t c = 0; c < kCollectives; ++c) {
    for (std::size_t a = 0; a < kMeshAxes; ++a) {
      all[c][a] = traffic(static_cast<Collective>(c), static_cast<MeshAxis>(a));
    }
  }
  return all;
}

}  // namespace trib::ops
