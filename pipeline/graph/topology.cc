#include "pipeline/graph/topology.h"

#include <algorithm>
#include <functional>
#include <queue>

namespace trib::pipeline {

Topology sort_topologically(const std::vector<std::vector<std::size_t>>& inputs) {
  const std::size_t count = inputs.size();
  Topology topology;
  std::vector<std::vector<std::size_t>> users(count);
  std::vector<std::size_t> missing(count);
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t node = 0; node < count; ++node) {
    for (const std::size_t input : inputs[node]) users[input].push_back(node);
    missing[node] = inputs[node].size();
    if (missing[node] == 0) ready.push(node);
  }
  std::vector<bool> done(count, false);
  while (!ready.empty()) {
    const std::size_t node = ready.top();
    ready.pop();
    topology.order.push_back(node);
    done[node] = true;
    for (const std::size_t user : users[node]) {
      if (--missing[user] == 0) ready.push(user);
    }
  }

  // Whoever is left waits for somebody who is left: walking to inputs must come round.
  for (std::size_t start = 0; start < count; ++start) {
    std::vector<std::size_t> walk;
    std::size_t node = start;
    while (!done[node]) {
      done[node] = true;
      walk.push_back(node);
      node = *std::find_if(inputs[node].begin(), inputs[node].end(),
                           [&](std::size_t input) { return missing[input] > 0; });
    }
    const auto begin = std::find(walk.begin(), walk.end(), node);
    if (begin == walk.end()) continue;
    std::vector<std::size_t> cycle(begin, walk.end());
    std::reverse(cycle.begin(), cycle.end());
    std::rotate(cycle.begin(), std::min_element(cycle.begin(), cycle.end()), cycle.end());
    topology.cycles.push_back(std::move(cycle));
  }
  return topology;
}

}  // namespace trib::pipeline
