#include "bench/support/ranks.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include "ops/base/error.h"

namespace trib::bench {
namespace {

// Cores of the machine are shared by the ranks mpirun put on it, whatever they are bound to.
int compute_threads(int asked, int ranks) {
  if (asked > 0) return asked;
  cpu_set_t set;
  CPU_ZERO(&set);
  const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, cores / ranks);
}

void tell(const Error& error) {
  std::cerr << "error: " << error.what() << std::endl;
}

}  // namespace

void parse_or_exit(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    std::exit(code == 0 ? 0 : static_cast<int>(ExitCode::config));
  }
}

int exit_code_of(FunctionRef<void()> work) {
  try {
    work();
    return 0;
  } catch (const Error& error) {
    tell(error);
    return static_cast<int>(error.exit_code());
  }
}

void on_ranks(ops::MeshAxis axis, int threads, RankWork work) {
  ops::Communicator communicator;
  const int ranks = communicator.size();
  try {
    const bool is_tensor = axis == ops::MeshAxis::tensor;
    communicator.split({.data = is_tensor ? 1 : ranks, .tensor = is_tensor ? ranks : 1});
    threads = compute_threads(threads, ranks);
    // Beside the communication thread, which sleeps while nothing is to be sent.
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(threads));
    tbb::task_arena(threads, 1).execute([&] { work(communicator, threads); });
  } catch (const Error& error) {
    if (ranks == 1) throw;
    tell(error);
    communicator.abort(static_cast<int>(error.exit_code()));
  }
}

std::vector<double> gather(ops::Communicator& communicator, std::span<const double> mine) {
  std::vector<double> all(mine.size() * static_cast<std::size_t>(communicator.size()));
  communicator
      .all_gather(ops::MeshAxis::world, std::as_bytes(mine), std::as_writable_bytes(std::span(all)))
      .wait();
  return all;
}

std::vector<double> largest(ops::Communicator& communicator, std::span<const double> mine) {
  const std::vector<double> all = gather(communicator, mine);
  std::vector<double> columns(all.begin(), all.begin() + std::ssize(mine));
  for (std::size_t i = 0; i < all.size(); ++i) {
    columns[i % mine.size()] = std::max(columns[i % mine.size()], all[i]);
  }
  return columns;
}

TimedSteps timed_steps(ops::Communicator& communicator, std::int64_t count,
                       FunctionRef<double()> step) {
  using Clock = std::chrono::steady_clock;
  TimedSteps timed;
  for (std::int64_t i = 0; i < count; ++i) {
    communicator.barrier(ops::MeshAxis::world).wait();
    const auto start = Clock::now();
    timed.loss = step();
    timed.seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  if (!std::isfinite(timed.loss)) {
    throw RuntimeError(fmt::format("loss {} after training", timed.loss));
  }
  return timed;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

}  // namespace trib::bench
