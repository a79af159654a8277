// Spans and counters of a run in Chrome's trace format (open in Perfetto or chrome://tracing).
//
// One track a thread with properly nested spans; the process id is the rank. Collectives run beside
// the threads and overlap each other. They have tracks of their own, "communication",
// "communication 2" and so on: as many as were in flight at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "ops/comm/operation_record.h"

namespace trib::pipeline::trace {

/// Start recording; seconds() counts from here. Without it spans cost one atomic load.
void enable(int rank);
/// Seconds since the process began to count.
double seconds();
/// Name the calling thread's track.
void name_thread(const std::string& name);
/// Record the value of a counter now.
void counter(std::string_view name, double value);
/// Record a collective from its start to its end; may be called from any thread.
void collective(const ops::OperationRecord& record);
/// Write this rank's events as a JSON array without the brackets (so that ranks can be joined).
/// Events recorded meanwhile may be missing. Throws RuntimeError if the file cannot be written.
void write_events(const std::string& path);

/// Records the time between construction and destruction. `category` must be a literal.
class Span {
 public:
  Span(const char* category, std::string_view name);
  ~Span();
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  const char* category_;
  std::string name_;
  double start_;
};

}  // namespace trib::pipeline::trace
