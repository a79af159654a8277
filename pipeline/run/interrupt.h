// SIGINT, SIGTERM and SIGUSR1: end in good order at the first. A second SIGINT or SIGTERM of its
// kind ends the process at once; SIGUSR1, a batch system's warning that time is running out, never
// does.
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

/// The first signal that came, 0 if none did.
int interrupt_signal();

}  // namespace trib::pipeline
