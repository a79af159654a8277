// What benches share that train on the ranks mpirun started: their start and end, times and memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/base/function_ref.h"
#include "ops/comm/communicator.h"

namespace CLI {
class App;
}

namespace trib::bench {

/// Read the command line. What it asks for (--help), or what is wrong with it, ends the program.
void parse_or_exit(CLI::App& app, int argc, char** argv);

/// Do the work: 0, or after an Error, which is told on the standard error, its exit code.
int exit_code_of(FunctionRef<void()> work);

using RankWork = FunctionRef<void(ops::Communicator& communicator, int threads)>;

/// Do the work on every rank, all of them on `axis` (data or tensor), with so many compute threads
/// each; 0: the cores of the machine divided among them. An Error ends the other ranks, too.
void on_ranks(ops::MeshAxis axis, int threads, RankWork work);

/// The rows of all ranks, one after the other.
std::vector<double> gather(ops::Communicator& communicator, std::span<const double> mine);
/// Of each column of these rows, the largest value.
std::vector<double> largest(ops::Communicator& communicator, std::span<const double> mine);

struct TimedSteps {
  std::vector<double> seconds;  ///< of each step, on this rank
  double loss = 0;              ///< of the last one
};

/// Steps that all ranks begin together; `step` gives its loss. Throws RuntimeError if the last loss
/// is not finite.
TimedSteps timed_steps(ops::Communicator& communicator, std::int64_t count,
                       FunctionRef<double()> step);

double median(std::vector<double> values);

/// Peak of this process.
double resident_bytes();

}  // namespace trib::bench
