#include "pipeline/run/interrupt.h"

#include <csignal>

namespace trib::pipeline {
namespace {

volatile std::sig_atomic_t caught = 0;

extern "C" void on_signal(int signal) {
  caught = signal;
  std::signal(signal, SIG_DFL);  // the next one ends the process
}

}  // namespace

InterruptGuard::InterruptGuard() {
  caught = 0;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int interrupt_signal() {
  return caught;
}

}  // namespace trib::pipeline
