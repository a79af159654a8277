// Which cores a rank computes on, and keeping its threads there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sched.h>
#include <tbb/task_arena.h>
#include <tbb/task_scheduler_observer.h>

#include "pipeline/engine/rank_group.h"

namespace trib::pipeline {

/// Where threads are kept.
enum class Bind : std::uint8_t {
  none,  ///< where the launcher and the system put them
  numa,  ///< ranks on cores of their own, each computing thread on one NUMA node of these
  core,  ///< ranks on cores of their own, each computing thread on one of these
};

/// "none", "numa", "core"; ConfigError for anything else.
Bind bind_of(std::string_view name);
std::string_view name_of(Bind bind);

/// The cores a rank may use as it was started.
struct RankPlace {
  std::uint64_t host = 0;  ///< a hash of the node's name
  cpu_set_t allowed{};
};

/// Of all ranks. Collective.
std::vector<RankPlace> gather_places(RankGroup& ranks);

/// What a rank does about it.
struct Binding {
  Bind bind = Bind::none;
  int compute_threads = 1;
  cpu_set_t rank{};                     ///< cores for all its threads
  std::vector<cpu_set_t> compute = {};  ///< by computing thread; empty for `none`
  /// Why ranks must take turns on their cores, or leave some unused; else empty.
  std::string warning = {};
};

/// Ranks of a node that may use the same cores share them evenly, in the order of the topology, so
/// that neighbouring ranks are on neighbouring cores. With `none` a rank gets a computing thread
/// for each hardware thread of its share, else for each core; at most kMaxComputeThreads. Throws
/// ConfigError, unless `none` is asked for, if there are fewer cores than ranks or if the launcher
/// bound ranks to cores that overlap without being the same.
///
/// `synthetic` describes another machine in hwloc's notation.
Binding plan_binding(const std::vector<RankPlace>& places, int rank, Bind bind,
                     const std::string& synthetic = "");

/// The most computing threads that plan_binding() will give a rank of a run of `ranks`, if all of
/// them are started on this node without binding, or as many as it has cores for.
int foresee_threads(int ranks, Bind bind);

/// Keep the threads there are, and those they will start, on the rank's cores.
void apply_to_process(const Binding& binding);

/// "0-3,8": as Linux writes lists of cores.
std::string core_list(const cpu_set_t& cores);
/// That of each rank. Collective.
std::vector<std::string> gather_cores(RankGroup& ranks, const Binding& binding);

/// Keeps each thread that works in an arena on the cores of its slot; afterwards it may use all of
/// the rank's again.
class SlotBinding : public tbb::task_scheduler_observer {
 public:
  /// `slots` is empty where nothing is to be bound.
  SlotBinding(tbb::task_arena& arena, std::vector<cpu_set_t> slots);
  ~SlotBinding() override;

  void on_scheduler_entry(bool is_worker) override;
  void on_scheduler_exit(bool is_worker) override;

 private:
  cpu_set_t rank_;
  std::vector<cpu_set_t> slots_;
};

}  // namespace trib::pipeline
