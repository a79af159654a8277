#include "ops/comm/traffic_ledger.h"

namespace trib::ops {

std::string_view name_of(Collective collective) {
  constexpr std::array<std::string_view, kCollectives> kNames{"all_reduce", "reduce_scatter",
                                                              "all_gather", "broadcast", "barrier"};
  return kNames[static_cast<std::size_t>(collective)];
}

std::string_view name_of(Phase phase) {
  constexpr std::array<std::string_view, kPhases> kNames{"setup", "forward", "backward",
                                                         "optimizer"};
  return kNames[static_cast<std::size_t>(phase)];
}

void TrafficLedger::record(Collective collective, MeshAxis axis, Phase phase, std::int64_t bytes) {
  Counter& counter = counters_[static_cast<std::size_t>(collective)][static_cast<std::size_t>(axis)]
                              [static_cast<std::size_t>(phase)];
  counter.calls.fetch_add(1, std::memory_order_relaxed);
  counter.bytes.fetch_add(bytes, std::memory_order_relaxed);
}

Traffic TrafficLedger::traffic(Collective collective, MeshAxis axis, Phase phase) const {
  const Counter& counter =
      counters_[static_cast<std::size_t>(collective)][static_cast<std::size_t>(axis)]
               [static_cast<std::size_t>(phase)];
  return {counter.calls.load(std::memory_order_relaxed),
          counter.bytes.load(std::memory_order_relaxed)};
}

Traffic TrafficLedger::traffic(Collective collective, MeshAxis axis) const {
  Traffic sum;
  for (std::size_t p = 0; p < kPhases; ++p) {
    const Traffic one = traffic(collective, axis, static_cast<Phase>(p));
    sum.calls += one.calls;
    sum.bytes += one.bytes;
  }
  return sum;
}

TrafficLedger::Snapshot TrafficLedger::snapshot() const {
  Snapshot all;
  for (std::size_t c = 0; c < kCollectives; ++c) {
    for (std::size_t a = 0; a < kMeshAxes; ++a) {
      for (std::size_t p = 0; p < kPhases; ++p) {
        all[c][a][p] =
            traffic(static_cast<Collective>(c), static_cast<MeshAxis>(a), static_cast<Phase>(p));
      }
    }
  }
  return all;
}

}  // namespace trib::ops
