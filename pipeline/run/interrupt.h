// SIGINT and SIGTERM: end in good order at the first, at once at the second.
#pragma once

namespace trib::pipeline {

/// Catches the signals while it lives.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

/// The signal that came, 0 if none did.
int interrupt_signal();

}  // namespace trib::pipeline
