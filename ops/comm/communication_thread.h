// The thread that owns MPI. Internal to ops/comm: nobody else includes mpi.h.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include "ops/comm/mesh.h"
#include "ops/comm/traffic_ledger.h"

namespace trib::ops {

/// What the waiting thread and the communication thread share of an operation.
struct Completion {
  std::atomic<bool> done{false};
  std::exception_ptr error;

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
};

/// What all ranks of a group must agree upon for a call; exchanged as bytes.
struct CallSignature {
  std::int64_t sequence = 0;  ///< number of the call on its axis
  std::int64_t count = 0;     ///< elements
  std::int32_t element_bytes = 0;
  std::int32_t root = 0;
  std::int32_t collective = 0;
  std::int32_t layout = 0;  ///< hash of the counts of uneven parts; fills up, no padding is sent
  bool operator==(const CallSignature&) const = default;
};

/// A collective on its way.
struct Operation {
  MeshAxis axis = MeshAxis::world;
  CallSignature signature;
  /// Make the non-blocking MPI call.
  std::function<int(MPI_Comm, MPI_Request*)> start;
  std::shared_ptr<Completion> completion;
  bool check_order = false;

  // Of the communication thread alone:
  enum class Stage { arrived, comparing, agreed, running, done };
  Stage stage = Stage::arrived;
  MPI_Request request = MPI_REQUEST_NULL;
  std::vector<CallSignature> of_group;  ///< signatures of all ranks
  std::chrono::steady_clock::time_point since;
  bool is_overdue = false;

  Collective collective() const { return static_cast<Collective>(signature.collective); }
};

class CommunicationThread {
 public:
  /// Start the thread and MPI. Throws RuntimeError.
  CommunicationThread();
  /// Complete all operations and finalise MPI.
  ~CommunicationThread();
  CommunicationThread(const CommunicationThread&) = delete;
  CommunicationThread& operator=(const CommunicationThread&) = delete;

  /// Make the communicators of the mesh's axes; blocks, collective.
  void split(const MeshShape& mesh);
  /// Hand over an operation; numbers it on its axis.
  void submit(Operation operation);
  [[noreturn]] void abort(int exit_code);

  const Group& group(MeshAxis axis) const { return groups_[static_cast<std::size_t>(axis)]; }
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }
  void set_check_order(bool check_order) { check_order_ = check_order; }

 private:
  void run(Completion& started);
  /// Move what was submitted to the list in flight; wait for something to do if there is nothing.
  /// False when all is complete and the thread shall end.
  bool collect();
  /// Drive all operations in flight once; whether any got further.
  bool progress();
  void advance(Operation& operation, bool& is_axis_blocked);
  void compare(const Operation& operation) const;
  std::string describe(const Operation& operation, const CallSignature& signature) const;

  std::array<Group, kMeshAxes> groups_;
  std::atomic<std::chrono::milliseconds> timeout_;
  std::atomic<bool> check_order_;

  std::mutex mutex_;  // guards the next six
  std::condition_variable wake_;
  std::list<Operation> submitted_;
  std::array<std::int64_t, kMeshAxes> submitted_on_axis_{};
  std::function<void()> errand_;  // something else to do on the thread
  bool is_stopping_ = false;
  int abort_code_ = 0;

  std::list<Operation> in_flight_;  // of the thread alone
  std::thread thread_;
};

/// Throw RuntimeError if an MPI call failed.
void check_mpi(int status, const char* call);

}  // namespace trib::ops
