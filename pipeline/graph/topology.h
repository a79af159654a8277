// The order of a graph's nodes, inputs before their users.
#pragma once

#include <cstddef>
#include <vector>

namespace trib::pipeline {

struct Topology {
  std::vector<std::size_t> order;  ///< every node that is neither on a cycle nor behind one
  std::vector<std::vector<std::size_t>> cycles;  ///< each along the flow, smallest index first
};

/// Sort nodes so that inputs come first and otherwise the given order is kept. `inputs[i]` are the
/// nodes that node i takes from. Cycles that hang together may be reported as one.
Topology sort_topologically(const std::vector<std::vector<std::size_t>>& inputs);

}  // namespace trib::pipeline
