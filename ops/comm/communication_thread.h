// The thread that owns MPI. Internal to ops/comm.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "ops/comm/operation.h"
#include "ops/comm/watchdog.h"

namespace trib::ops {

class CommunicationThread {
 public:
  /// Start the thread and MPI. Throws RuntimeError.
  CommunicationThread();
  /// Complete all operations and finalise MPI, together with the other ranks.
  ~CommunicationThread();
  CommunicationThread(const CommunicationThread&) = delete;
  CommunicationThread& operator=(const CommunicationThread&) = delete;

  /// Make the communicators of the mesh's axes; blocks, collective.
  void split(const MeshShape& mesh);
  /// Hand over an operation; numbers it on its axis.
  void submit(Operation operation);
  /// Report the operations handed over from now on; null: none.
  void set_observer(OperationObserver observer);
  [[noreturn]] void abort(int exit_code);

  const Group& group(MeshAxis axis) const { return groups_[static_cast<std::size_t>(axis)]; }
  void set_timeout(std::chrono::milliseconds timeout) { watchdog_.set_timeout(timeout); }
  void set_silence_limit(std::chrono::milliseconds limit) { watchdog_.set_silence_limit(limit); }
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
  /// Let operations fail that will not complete or are pending for too long.
  void watch(AwakeClock::Time now);

  Groups groups_;
  std::list<Operation> in_flight_;  // of the thread alone, as the next two
  Watchdog watchdog_{groups_, in_flight_};
  AwakeClock clock_;
  std::atomic<bool> check_order_;

  std::mutex mutex_;  // guards the next seven
  std::condition_variable wake_;
  std::list<Operation> submitted_;
  std::array<std::int64_t, kMeshAxes> submitted_on_axis_{};
  std::shared_ptr<const OperationObserver> observer_;
  std::function<void()> errand_;  // something else to do on the thread
  bool is_stopping_ = false;
  int abort_code_ = 0;

  std::thread thread_;
};

}  // namespace trib::ops
