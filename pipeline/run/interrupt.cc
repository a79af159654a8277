#include "pipeline/run/interrupt.h"

#include <atomic>
#include <csignal>

namespace trib::pipeline {
namespace {

std::atomic<int> caught = 0;
static_assert(std::atomic<int>::is_always_lock_free);  // so that a handler may write it

extern "C" void on_signal(int signal) {
  int none = 0;
  caught.compare_exchange_strong(none, signal);
  // The next one of those that people send ends the process.
  if (signal != SIGUSR1) std::signal(signal, SIG_DFL);
}

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};

}  // namespace

InterruptGuard::InterruptGuard() {
  caught = 0;
  for (const int signal : kSignals) std::signal(signal, on_signal);
}

InterruptGuard::~InterruptGuard() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

int interrupt_signal() {
  return caught;
}

}  // namespace trib::pipeline
