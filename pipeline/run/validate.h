// What `trib validate` does.
#pragma once

#include <string>
#include <vector>

#include "pipeline/engine/binding.h"
#include "pipeline/stage/registry.h"

namespace trib::pipeline {

struct ValidateOptions {
  std::string graph;
  std::vector<std::string> sets;
  Bind bind = Bind::none;  ///< of the run that is foreseen
  bool json = false;
};

/// Prepare a graph as the rank with most to hold would, without MPI, and print what it found:
/// edges, model size, predicted memory of a rank. Threads are counted as on a node like this one
/// (see foresee_threads). Throws ConfigError or DataError.
void validate_graph(const ValidateOptions& options, const Registry& registry);

}  // namespace trib::pipeline
