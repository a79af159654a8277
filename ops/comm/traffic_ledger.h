// The traffic ledger: calls and bytes of this process by collective, mesh axis and phase.
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

/// What a run is doing when it calls a collective.
enum class Phase : std::uint8_t { setup, forward, backward, optimizer };
inline constexpr std::size_t kPhases = 4;

std::string_view name_of(Phase phase);

struct Traffic {
  std::int64_t calls = 0;
  std::int64_t bytes = 0;
};

/// Counters that may be used from any thread. The bytes of a call are the contribution of this
/// rank, what it hands in: of all_reduce and broadcast the vector, of all_gather the own part, of
/// reduce_scatter the whole vector of parts, of barrier nothing.
class TrafficLedger {
 public:
  using Snapshot = std::array<std::array<std::array<Traffic, kPhases>, kMeshAxes>, kCollectives>;

  void record(Collective collective, MeshAxis axis, Phase phase, std::int64_t bytes);
  Traffic traffic(Collective collective, MeshAxis axis, Phase phase) const;
  /// The sum over all phases.
  Traffic traffic(Collective collective, MeshAxis axis) const;
  /// All counters, indexed by collective, axis and phase.
  Snapshot snapshot() const;

 private:
  struct Counter {
    std::atomic<std::int64_t> calls{0};
    std::atomic<std::int64_t> bytes{0};
  };
  std::array<std::array<std::array<Counter, kPhases>, kMeshAxes>, kCollectives> counters_;
};

}  // namespace trib::ops
