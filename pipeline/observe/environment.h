// The record of where and with what a run was made.
#pragma once

#include <string>
#include <vector>

#include "ops/comm/mesh.h"

namespace trib::pipeline {

struct EnvironmentFacts {
  int ranks = 1;
  ops::MeshShape mesh;
  int compute_threads = 1;
  int io_threads = 1;
  std::string bind = "none";                ///< as asked for by --bind
  std::vector<std::string> cores_of_ranks;  ///< "0-3", by rank
};

/// JSON with versions of the program and its libraries, compiler, BLAS configuration and core,
/// host, cores, binding, memory, mesh, and the environment variables that change results or speed.
std::string environment_json(const EnvironmentFacts& facts);

/// Version of this program, "0.1.0".
const char* program_version();

}  // namespace trib::pipeline
