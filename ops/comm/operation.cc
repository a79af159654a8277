#include "ops/comm/operation.h"

#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::ops {

void Completion::finish(std::exception_ptr with_error) {
  error = std::move(with_error);
  done.store(true, std::memory_order_release);
  done.notify_all();
}

void Completion::wait() const {
  if (!done.load(std::memory_order_acquire)) {
    auto nobody = OperationRecord::Time::min();
    blocked_since.compare_exchange_strong(nobody, std::chrono::steady_clock::now());
  }
  done.wait(false, std::memory_order_acquire);
  if (error != nullptr) std::rethrow_exception(error);
}

void Operation::report() const {
  if (observer == nullptr) return;
  OperationRecord record{.collective = collective(),
                         .axis = axis,
                         .phase = phase,
                         .bytes = bytes,
                         .submitted = submitted,
                         .started = started,
                         .finished = std::chrono::steady_clock::now()};
  const auto blocked_since = completion->blocked_since.load();
  if (blocked_since != OperationRecord::Time::min()) {
    record.waited = record.finished - blocked_since;
  }
  (*observer)(record);
}

std::string name_of(const CallSignature& signature) {
  return fmt::format("{} number {}", name_of(static_cast<Collective>(signature.collective)),
                     signature.sequence);
}

std::string describe(MeshAxis axis, const CallSignature& signature) {
  return fmt::format("{} on axis {} ({} x {} bytes, root {}{})", name_of(signature), name_of(axis),
                     signature.count, signature.element_bytes, signature.root,
                     signature.layout == 0 ? "" : fmt::format(", uneven {:x}", signature.layout));
}

void check_mpi(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw RuntimeError(fmt::format("{} failed: {}", call, text));
}

}  // namespace trib::ops
