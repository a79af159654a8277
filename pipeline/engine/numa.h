// NUMA nodes, and keeping threads on one of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <sched.h>
#include <tbb/task_arena.h>
#include <tbb/task_scheduler_observer.h>

namespace trib::pipeline {

enum class TopologyPart : std::uint8_t { numa_node, core };

/// The hardware threads of each NUMA node, or core, of the machine that are among `allowed`, for
/// those with any, in the order of the topology. Read with hwloc; `synthetic` describes another
/// machine in hwloc's notation ("numa:2 core:4 pu:1").
std::vector<cpu_set_t> topology_parts(TopologyPart part, const cpu_set_t& allowed,
                                      const std::string& synthetic = "");
inline std::vector<cpu_set_t> numa_nodes(const cpu_set_t& allowed,
                                         const std::string& synthetic = "") {
  return topology_parts(TopologyPart::numa_node, allowed, synthetic);
}

/// The cores the calling thread may use.
cpu_set_t allowed_cores();

/// Keeps the threads of an arena on NUMA nodes, dealt out in turn, as long as they work in it. What
/// a thread touches first then lies in the memory of its node. Does nothing on one node, unless
/// `also_on_one`: for threads that may have been started by one that is kept on a single core.
class NodeBinding : public tbb::task_scheduler_observer {
 public:
  /// `cores`, those of the rank, are shared out.
  NodeBinding(tbb::task_arena& arena, const cpu_set_t& cores, bool also_on_one = false);
  ~NodeBinding() override;

  void on_scheduler_entry(bool is_worker) override;
  void on_scheduler_exit(bool is_worker) override;

 private:
  cpu_set_t allowed_;
  std::vector<cpu_set_t> nodes_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace trib::pipeline
