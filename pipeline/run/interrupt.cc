#include "pipeline/run/interrupt.h"

#include <csignal>

namespace trib::pipeline {
namespace {

volatile std::sig_atomic_t caught = 0;

extern "C" void on_signal(int signal) {
  if (caught == 0) caught = signal;
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
