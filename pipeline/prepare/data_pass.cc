#include "pipeline/prepare/data_pass.h"

#include <chrono>
#include <exception>

#include "pipeline/engine/same_files.h"

namespace trib::pipeline {
namespace {

// Ranks share the work by counting it, not by time: one may have to wait long for the slowest.
constexpr std::chrono::hours kTimeout{24};

}  // namespace

int run_data_pass(RankGroup& ranks, const std::function<const Plan&()>& prepare,
                  const std::function<void()>& work) {
  ranks.communicator().split({ranks.size(), 1, 1});
  ranks.communicator().set_timeout(kTimeout);
  const auto fail = [&](ExitCode code, const char* message) {
    ranks.print_error(message);
    return ranks.end_all(code);
  };
  const Plan* plan = nullptr;
  ExitCode code = ranks.all_ready([&] { plan = &prepare(); });
  if (code == ExitCode::ok) code = ranks.all_ready([&] { require_same_files(*plan, ranks); });
  if (code != ExitCode::ok) return static_cast<int>(code);
  try {
    work();
  } catch (const Error& error) {
    return fail(error.exit_code(), error.what());
  } catch (const std::exception& error) {
    return fail(ExitCode::runtime, error.what());
  }
  return 0;
}

}  // namespace trib::pipeline
