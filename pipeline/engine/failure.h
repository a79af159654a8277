// The first error of a run.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "ops/base/error.h"

namespace trib::pipeline {

/// Keeps the first error; those after it are consequences. Thread-safe.
class Failure {
 public:
  /// Record the exception being handled, with the node and what it was working on
  /// (if a node was).
  /// Returns whether it was the first.
  bool record_current(const std::string& node, const std::string& subject);
  bool happened() const { return happened_; }
  /// Throw what was recorded, if anything was.
  void rethrow() const;

 private:
  std::atomic<bool> happened_{false};
  mutable std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace trib::pipeline
