// Collectives between the ranks of a run.
//
// One thread of the process owns MPI: it initialises and finalises it, makes every call, and polls
// operations in flight (Open MPI makes no progress by itself). Other threads hand it operations
// and get a Pending back. Operations start in the order they were handed over; several may be in
// flight, so that a small one does not wait behind a large one of another axis.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "ops/base/bfloat16.h"
#include "ops/comm/mesh.h"
#include "ops/comm/operation_record.h"
#include "ops/comm/traffic_ledger.h"

namespace trib::ops {

class CommunicationThread;
struct Completion;
struct Group;
struct Operation;

/// An operation under way. Its buffers must stay as they are until wait() has returned.
class [[nodiscard]] Pending {
 public:
  /// Nothing to wait for.
  Pending() = default;
  explicit Pending(std::shared_ptr<Completion> completion) : completion_(std::move(completion)) {}

  bool is_done() const;
  /// Block until the operation is complete; rethrows what went wrong with it.
  void wait() const;

 private:
  std::shared_ptr<Completion> completion_;
};

/// The ranks of the run, and collectives along the axes of their mesh.
///
/// On each axis, all ranks must call the same collectives in the same order. An axis with one rank
/// costs nothing: the call returns at once and is not counted. A program started without mpirun is
/// one rank.
///
/// Errors come out of Pending::wait():
/// - PeerError, which names the ranks an operation waits for, if one of them does not answer for
///   longer than the silence limit (it was stopped or lost), can be seen never to join, or if the
///   operation is pending for longer than the timeout. MPI may still write to its buffers: call
///   abort().
/// - RuntimeError if MPI fails, or, where the order is checked, if ranks disagree.
class Communicator {
 public:
  /// Start MPI. A process can do so once: throws RuntimeError the second time.
  Communicator();
  /// Complete all operations and finalise MPI together with the other ranks, however long those
  /// take. After a PeerError, or if one of them does not answer, that is impossible, and the run is
  /// aborted as by abort(5).
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank(MeshAxis axis = MeshAxis::world) const;
  int size(MeshAxis axis = MeshAxis::world) const;

  /// Lay the ranks out as a mesh; to be called once by all, before the axes other than `world` are
  /// used. Throws ConfigError unless the mesh has as many places as there are ranks.
  void split(const MeshShape& mesh);
  const MeshShape& mesh() const { return mesh_; }

  /// Add up over the ranks of the axis, in place. The result is bitwise the same on all.
  Pending all_reduce_sum(MeshAxis axis, std::span<float> values);
  Pending all_reduce_sum(MeshAxis axis, std::span<double> values);
  /// Sums of bfloat16 are rounded after each addition.
  Pending all_reduce_sum(MeshAxis axis, std::span<BFloat16> values);
  /// Add up over the ranks; rank i keeps part i of as many equal parts as there are ranks.
  /// Expects parts.size() == size(axis) * mine.size().
  Pending reduce_scatter_sum(MeshAxis axis, std::span<const float> parts, std::span<float> mine);
  Pending reduce_scatter_sum(MeshAxis axis, std::span<const BFloat16> parts,
                             std::span<BFloat16> mine);
  /// The same for uneven parts: counts[i] elements, perhaps 0, are the part of rank i. Throws
  /// RuntimeError unless the counts add up to parts.size() and that of this rank is mine.size().
  Pending reduce_scatter_sum(MeshAxis axis, std::span<const float> parts, std::span<float> mine,
                             std::span<const std::int64_t> counts);
  /// Gather equal parts of all ranks in the order of their ranks. Expects all.size() == size(axis)
  /// * mine.size(); `mine` may be the own place in `all`.
  Pending all_gather(MeshAxis axis, std::span<const std::byte> mine, std::span<std::byte> all);
  /// The same for uneven parts: counts[i] bytes, perhaps 0, are the part of rank i. Throws
  /// RuntimeError unless the counts add up to all.size() and that of this rank is mine.size().
  Pending all_gather(MeshAxis axis, std::span<const std::byte> mine, std::span<std::byte> all,
                     std::span<const std::int64_t> counts);
  /// Give all ranks of the axis what its rank `root` has.
  Pending broadcast(MeshAxis axis, std::span<std::byte> bytes, int root);
  Pending barrier(MeshAxis axis);

  /// End the run on all ranks with this exit code. May be called from any thread.
  [[noreturn]] void abort(int exit_code);

  /// How long an operation may wait for ranks that are alive; 300 s at first.
  void set_timeout(std::chrono::milliseconds timeout);
  /// How long a rank may be silent when others wait for it and ask; 10 s at first.
  void set_silence_limit(std::chrono::milliseconds limit);
  /// Compare each collective with those of the other ranks before it starts, at the cost of one
  /// more message each. On at first in debug builds. All ranks must switch at the same point.
  void set_check_order(bool check_order);

  /// Count the calls handed over from now on, by any thread, under this phase; `setup` at first.
  void enter(Phase phase) { phase_.store(phase, std::memory_order_relaxed); }
  Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  const TrafficLedger& traffic() const { return traffic_; }

  /// Call `observer` on the communication thread for each operation handed over from now on, when
  /// it is complete and before its wait() returns; null: no more. Those that fail are left out. The
  /// observer must be quick, must not throw and must not use the communicator.
  void set_observer(OperationObserver observer);

 private:
  const Group& group(MeshAxis axis) const;
  /// Hand over to the thread; `bytes` are what this rank contributes.
  Pending submit(Operation operation, std::size_t bytes);
  template <class T>
  Pending all_reduce(MeshAxis axis, std::span<T> values);
  template <class T>
  Pending reduce_scatter(MeshAxis axis, std::span<const T> parts, std::span<T> mine);

  std::unique_ptr<CommunicationThread> thread_;
  TrafficLedger traffic_;
  std::atomic<Phase> phase_{Phase::setup};
  MeshShape mesh_;
  bool has_mesh_ = false;
};

/// Name and version of the MPI library; may be asked at any time.
std::string mpi_library_version();

}  // namespace trib::ops
