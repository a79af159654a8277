#include "pipeline/engine/numa.h"

#include <memory>

#include <hwloc.h>

namespace trib::pipeline {

std::vector<cpu_set_t> topology_parts(TopologyPart part, const cpu_set_t& allowed,
                                      const std::string& synthetic) {
  const hwloc_obj_type_t type =
      part == TopologyPart::numa_node ? HWLOC_OBJ_NUMANODE : HWLOC_OBJ_CORE;
  hwloc_topology_t made = nullptr;
  if (hwloc_topology_init(&made) != 0) return {};
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> topology(
      made, hwloc_topology_destroy);
  if (!synthetic.empty()) hwloc_topology_set_synthetic(made, synthetic.c_str());
  if (hwloc_topology_load(made) != 0) return {};
  std::vector<cpu_set_t> parts;
  for (hwloc_obj_t object = nullptr;
       (object = hwloc_get_next_obj_by_type(made, type, object)) != nullptr;) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (int core = hwloc_bitmap_first(object->cpuset); core >= 0 && core < CPU_SETSIZE;
         core = hwloc_bitmap_next(object->cpuset, core)) {
      if (CPU_ISSET(core, &allowed)) CPU_SET(core, &cores);
    }
    if (CPU_COUNT(&cores) > 0) parts.push_back(cores);
  }
  return parts;
}

cpu_set_t allowed_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  return allowed;
}

NodeBinding::NodeBinding(tbb::task_arena& arena, const cpu_set_t& cores, bool also_on_one)
    : tbb::task_scheduler_observer(arena), allowed_(cores), nodes_(numa_nodes(allowed_)) {
  if (nodes_.size() > (also_on_one ? 0 : 1)) observe(true);
}

NodeBinding::~NodeBinding() {
  observe(false);
}

void NodeBinding::on_scheduler_entry(bool /*is_worker*/) {
  const cpu_set_t& node = nodes_[next_++ % nodes_.size()];
  sched_setaffinity(0, sizeof node, &node);
}

// The thread may go on to another arena.
void NodeBinding::on_scheduler_exit(bool /*is_worker*/) {
  sched_setaffinity(0, sizeof allowed_, &allowed_);
}

}  // namespace trib::pipeline
