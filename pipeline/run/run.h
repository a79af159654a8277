// A run from graph file to run folder.
#pragma once

#include <string>
#include <vector>

#include "pipeline/engine/binding.h"
#include "pipeline/run/capture.h"
#include "pipeline/stage/registry.h"

namespace trib::pipeline {

struct RunOptions {
  std::string graph;              ///< path of the graph definition
  std::vector<std::string> sets;  ///< "node.param=value"
  std::string run_dir;            ///< the run's folder; empty: a fresh one below `runs`
  bool resume = false;       ///< go on from the newest checkpoint of `run_dir`, or of the latest
                             ///< run of this name
  bool quiet = false;        ///< no progress
  bool log_samples = false;  ///< of each update of a training
  bool trace = true;
  Bind bind = Bind::none;  ///< of threads to cores
  CaptureOptions capture;
};

/// Run a graph on all ranks and return the exit code; what went wrong has then been printed, by one
/// rank. Must be called once in a process, because it starts MPI.
int run_graph(const RunOptions& options, const Registry& registry);

}  // namespace trib::pipeline
