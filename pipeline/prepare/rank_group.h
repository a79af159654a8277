// The ranks of a command that goes through data without training: they fail together.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ops/comm/communicator.h"

namespace trib::pipeline {

class RankGroup {
 public:
  /// Starts MPI: one a process.
  RankGroup();

  int rank() const { return communicator_.rank(); }
  int size() const { return communicator_.size(); }
  bool leads() const { return rank() == 0; }
  ops::Communicator& communicator() { return communicator_; }

  /// Call `prepare` on all ranks, then `work` on all. If `prepare` fails anywhere, all end in good
  /// order, with the message of the lowest failing rank. A failure of `work` prints its message and
  /// ends all ranks at once, since others may be waiting in a collective. Returns the exit code.
  int run(const std::function<void()>& prepare, const std::function<void()>& work);
  /// What each rank has, in their order, on all ranks.
  std::vector<std::string> gather(const std::string& own);

 private:
  void print_error(const std::string& message) const;

  ops::Communicator communicator_;
};

}  // namespace trib::pipeline
