// The points of the grid that bench/dchag/dchag.py runs: a way to aggregate channels, the model it
// makes, and the memory this needs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "model/model.h"

namespace trib::bench {

/// A way to aggregate channels on a tensor axis.
struct Mode {
  const char* name;
  bool distributed;  ///< channels are divided among the ranks
  model::Hierarchy hierarchy;
  model::AggregationKind kind;
  std::int64_t tree;
  bool fused;
};

std::span<const Mode> modes();

struct Point {
  std::string mode = "baseline";
  std::int64_t channels = 64, dim = 256, depth = 4, heads = 8, patch = 4, size = 64, batch = 2;
  std::int64_t partitions = 0;  ///< of D-CHAG; 0: as many as ranks
};

/// Throws ConfigError if there is no such mode.
const Mode& mode_of(const Point& point);

/// The forecaster of one rank of the tensor axis, not connected.
std::unique_ptr<model::Model> make_model(const Point& point, int ranks, int rank);

/// Bytes of the ledger that a rank needs to train its model.
std::int64_t predicted_bytes(const Point& point, const model::Model& model);
/// What Open MPI takes of a rank beside the ledger.
std::int64_t mpi_bytes(const Point& point, const model::Model& model);

}  // namespace trib::bench
