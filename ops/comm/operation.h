// Collectives on their way, and the groups of ranks they run on. Internal to ops/comm: nobody else
// includes mpi.h.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include "ops/comm/awake_clock.h"
#include "ops/comm/mesh.h"
#include "ops/comm/operation_record.h"
#include "ops/comm/traffic_ledger.h"

namespace trib::ops {

/// What the waiting thread and the communication thread share of an operation.
struct Completion {
  std::atomic<bool> done{false};
  std::exception_ptr error;
  /// When a thread was first blocked by it; min() if none was.
  mutable std::atomic<OperationRecord::Time> blocked_since{OperationRecord::Time::min()};

  void finish(std::exception_ptr with_error = nullptr);
  /// Block until finish(); rethrows the error.
  void wait() const;
};

/// The ranks of one axis as this rank sees them.
struct Group {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm order_comm = MPI_COMM_NULL;  ///< a copy, for comparing the order of calls
  int rank = 0;
  int size = 1;
  std::vector<int> world_ranks;  ///< of all, ascending
};
using Groups = std::array<Group, kMeshAxes>;

/// What all ranks of a group must agree upon for a call; exchanged as bytes.
struct CallSignature {
  std::int64_t sequence = -1;  ///< number of the call on its axis; -1 before the first
  std::int64_t count = 0;      ///< elements
  std::int32_t element_bytes = 0;
  std::int32_t root = 0;
  std::int32_t collective = 0;
  std::int32_t layout = 0;  ///< hash of the counts of uneven parts; fills up, no padding is sent
  bool operator==(const CallSignature&) const = default;
};

/// "all_gather number 40"
std::string name_of(const CallSignature& signature);
/// "all_gather number 40 on axis tensor (12 x 4 bytes, root 0)"
std::string describe(MeshAxis axis, const CallSignature& signature);

/// A collective on its way.
struct Operation {
  MeshAxis axis = MeshAxis::world;
  CallSignature signature;
  /// Make the non-blocking MPI call.
  std::function<int(MPI_Comm, MPI_Request*)> start;
  std::shared_ptr<Completion> completion;
  Phase phase = Phase::setup;
  std::int64_t bytes = 0;  ///< contributed by this rank
  bool check_order = false;

  // Filled in as it goes its way, if there is an observer:
  std::shared_ptr<const OperationObserver> observer;
  OperationRecord::Time submitted, started;

  // Of the communication thread alone:
  enum class Stage { arrived, comparing, agreed, running, done };
  Stage stage = Stage::arrived;
  MPI_Request request = MPI_REQUEST_NULL;
  std::vector<CallSignature> of_group;  ///< signatures of all ranks
  AwakeClock::Time since{};
  bool has_failed = false;  ///< its completion has an error, while MPI still works on it

  Collective collective() const { return static_cast<Collective>(signature.collective); }
  /// Tell the observer, if there is one, that the operation is complete.
  void report() const;
};

/// Throw RuntimeError if an MPI call failed.
void check_mpi(int status, const char* call);

}  // namespace trib::ops
