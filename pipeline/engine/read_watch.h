// Reads on the I/O threads, and giving up those that take too long.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>

#include "pipeline/engine/threads.h"
#include "pipeline/stage/flow.h"

namespace trib::pipeline {

/// Runs reads that may never return. A read that takes longer than its limit is given up: whoever
/// waits for it gets an error, another thread takes the place of the one it blocks, and what it
/// brings later is dropped.
class ReadWatch {
 public:
  explicit ReadWatch(Threads& threads);
  /// Nothing may be waited for any more. Reads that were given up may be under way.
  ~ReadWatch();
  ReadWatch(const ReadWatch&) = delete;
  ReadWatch& operator=(const ReadWatch&) = delete;

  /// A read. It may go on after all else is gone, and must own what it touches.
  using Read = std::function<Sample()>;
  /// Gets what came of a read: a sample, an error, or neither if there was nothing to read.
  using Done = std::function<void(std::optional<Sample>, std::exception_ptr)>;

  /// Some time later, on an I/O thread: call `begin`, run the read it returns (if it is not empty)
  /// and call `done`. If the read takes longer than `limit_seconds` (0: without limit), `done` gets
  /// a DataError instead, on a thread of the watch. It is called once for each call of this
  /// function; neither it nor `begin` may throw.
  void enqueue(double limit_seconds, std::function<Read()> begin, Done done);

  /// Nobody needs the reads under way any more: give up those that have a limit this much later,
  /// without an error.
  void hurry(double seconds);

 private:
  class Impl;
  Threads& threads_;
  std::shared_ptr<Impl> impl_;
};

}  // namespace trib::pipeline
