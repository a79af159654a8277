// The ranks of a command: until they work together they fail together.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ops/base/error.h"
#include "ops/comm/communicator.h"

namespace trib::pipeline {

class RankGroup {
 public:
  int rank() const { return communicator_.rank(); }
  int size() const { return communicator_.size(); }
  bool leads() const { return rank() == 0; }
  /// One a process: it starts MPI.
  ops::Communicator& communicator() { return communicator_; }
  const ops::Communicator& communicator() const { return communicator_; }

  /// Call `body` on all ranks. If it fails anywhere, the lowest failing rank says why and all get
  /// its exit code. It must not fail on some ranks before a collective that others come to.
  ExitCode all_ready(const std::function<void()>& body);
  /// What each rank has, in their order, on all ranks.
  template <class Value>
  std::vector<Value> gather(const Value& own) {
    std::vector<Value> all(static_cast<std::size_t>(size()));
    communicator_
        .all_gather(ops::MeshAxis::world, std::as_bytes(std::span(&own, 1)),
                    std::as_writable_bytes(std::span(all)))
        .wait();
    return all;
  }
  std::vector<std::string> gather(const std::string& own);
  /// Say what went wrong, and on which of several ranks.
  void print_error(const std::string& message) const;
  /// Wait for all ranks.
  void barrier() { communicator_.barrier(ops::MeshAxis::world).wait(); }
  /// End the other ranks, which may be waiting for this one. Returns the exit code if there are
  /// none.
  int end_all(ExitCode code);

 private:
  ops::Communicator communicator_;
};

}  // namespace trib::pipeline
