// What an observer of collectives is told.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "ops/comm/mesh.h"
#include "ops/comm/traffic_ledger.h"

namespace trib::ops {

/// A collective that is complete; times are as this rank saw them.
struct OperationRecord {
  using Time = std::chrono::steady_clock::time_point;

  Collective collective = Collective::barrier;
  MeshAxis axis = MeshAxis::world;
  Phase phase = Phase::setup;  ///< when it was handed over
  std::int64_t bytes = 0;      ///< what this rank contributed, as in the traffic ledger
  Time submitted;              ///< handed over
  Time started;                ///< given to MPI
  Time finished;               ///< found complete
  /// How long a thread had been blocked by it; the rest of its time is hidden behind other work.
  std::chrono::nanoseconds waited{0};
};

using OperationObserver = std::function<void(const OperationRecord&)>;

}  // namespace trib::ops
