// Four ranks of which rank 2 misbehaves: watchdog_program MODE SILENCE_LIMIT_MS TIMEOUT_MS
#include <chrono>
#include <csignal>
#include <iostream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "ops/base/error.h"
#include "ops/comm/communicator.h"

namespace {

using trib::ops::Communicator;
using trib::ops::MeshAxis;

constexpr int kCulprit = 2, kGoodSteps = 20, kMoreSteps = 3;
const std::chrono::seconds kForever{60};

void step(Communicator& communicator) {
  std::vector<float> values(2'000'000, 1.0f);
  communicator.all_reduce_sum(MeshAxis::tensor, std::span(values)).wait();
  communicator.all_reduce_sum(MeshAxis::data, std::span(values).first(100)).wait();
}

/// What rank 2 does; false if it shall go no further.
bool misbehave(Communicator& communicator, const std::string& mode,
               std::chrono::milliseconds silence_limit) {
  std::vector<float> values(2'000'000, 1.0f);
  if (mode == "stop") {
    const auto pending = communicator.all_reduce_sum(MeshAxis::tensor, std::span(values));
    std::raise(SIGSTOP);
    pending.wait();
  } else if (mode == "kill") {
    const auto pending = communicator.all_reduce_sum(MeshAxis::tensor, std::span(values));
    std::raise(SIGKILL);
    pending.wait();
  } else if (mode == "hang") {
    std::this_thread::sleep_for(kForever);
  } else if (mode == "slow") {
    std::this_thread::sleep_for(3 * silence_limit);
  } else if (mode == "leave") {
    return false;
  }
  return true;
}

void run(Communicator& communicator, const std::string& mode,
         std::chrono::milliseconds silence_limit) {
  const bool is_culprit = communicator.rank() == kCulprit;
  if (mode == "no split" && is_culprit) std::this_thread::sleep_for(kForever);
  communicator.split({.data = 2, .tensor = 2});
  for (int i = 0; i < kGoodSteps; ++i) step(communicator);
  if (is_culprit && !misbehave(communicator, mode, silence_limit)) return;
  if (mode == "roots" && communicator.rank() >= kCulprit) {
    // Both wait for what the other should send.
    float value = 0;
    const int other = 1 - communicator.rank(MeshAxis::tensor);
    communicator.broadcast(MeshAxis::tensor, std::as_writable_bytes(std::span(&value, 1)), other)
        .wait();
  }
  for (int i = 0; i < kMoreSteps; ++i) step(communicator);
  if (mode == "stop at end" && is_culprit) std::raise(SIGSTOP);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 1;
  const std::chrono::milliseconds silence_limit(std::stol(argv[2])), timeout(std::stol(argv[3]));
  Communicator communicator;
  communicator.set_check_order(false);
  communicator.set_silence_limit(silence_limit);
  communicator.set_timeout(timeout);
  try {
    run(communicator, argv[1], silence_limit);
  } catch (const trib::Error& error) {
    std::cerr << std::string(error.what()) + "\n" << std::flush;
    communicator.abort(static_cast<int>(error.exit_code()));
  }
  return 0;
}
