// The traffic ledger: calls and bytes of this process by collective and mesh axis.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ops/comm/mesh.h"

namespace trib::ops {

enum class Collective : std::uint8_t { all_reduce, reduce_scatter, all_gather, broadcast, barrier };
inline constexpr std::size_t kCollectives = 5;

std::string_view name_of(Collective collective);

struct Traffic {
  std::int64_t calls = 0;
  std::int64_t bytes = 0;
};

/// Counters that may be used from any thread. The bytes of a call are those of the larger of its
/// buffers on this rank: the vector reduced or broadcast, the whole that is gathered or scattered.
class TrafficLedger {
 public:
  using Snapshot = std::array<std::array<Traffic, kMeshAxes>, kCollectives>;

  void record(Collective collective, MeshAxis axis, std::int64_t bytes);
  Traffic traffic(Collective collective, MeshAxis axis) const;
  /// All counters, indexed by collective and axis.
  Snapshot snapshot() const;

 private:
  struct Counter {
    std::atomic<std::int64_t> calls{0};
    std::atomic<std::int64_t> bytes{0};
  };
  std::array<std::array<Counter, kMeshAxes>, kCollectives> counters_;
};

}  // namespace trib::ops
