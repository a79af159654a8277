#include "pipeline/engine/binding.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <hwloc.h>
#include <unistd.h>

#include "ops/base/error.h"
#include "ops/base/split.h"
#include "pipeline/engine/numa.h"
#include "pipeline/engine/threads.h"

namespace trib::pipeline {
namespace {

constexpr std::array kNames{std::pair{Bind::none, "none"}, std::pair{Bind::numa, "numa"},
                            std::pair{Bind::core, "core"}};

cpu_set_t no_cores() {
  cpu_set_t none;
  CPU_ZERO(&none);
  return none;
}

cpu_set_t own_affinity() {
  cpu_set_t allowed = no_cores();
  sched_getaffinity(0, sizeof allowed, &allowed);
  return allowed;
}

bool overlap(const cpu_set_t& a, const cpu_set_t& b) {
  cpu_set_t both;
  CPU_AND(&both, &a, &b);
  return CPU_COUNT(&both) > 0;
}

// Hardware threads, those of a core together, in the order of the topology.
std::vector<cpu_set_t> cores_of(const cpu_set_t& allowed, const std::string& synthetic) {
  std::vector<cpu_set_t> cores = topology_parts(TopologyPart::core, allowed, synthetic);
  if (!cores.empty()) return cores;
  for (int thread = 0; thread < CPU_SETSIZE; ++thread) {  // a machine that tells of no cores
    if (!CPU_ISSET(thread, &allowed)) continue;
    cores.push_back(no_cores());
    CPU_SET(thread, &cores.back());
  }
  return cores;
}

// Of the cores `allowed`, those on the same NUMA nodes as `core`.
cpu_set_t on_node_of(const cpu_set_t& core, const cpu_set_t& allowed,
                     const std::vector<cpu_set_t>& nodes) {
  for (const cpu_set_t& node : nodes) {
    if (!overlap(node, core)) continue;
    cpu_set_t shared;
    CPU_AND(&shared, &node, &allowed);
    return shared;
  }
  return allowed;
}

// The ranks that may use the cores of one of them.
struct Sharers {
  std::int64_t count = 0, place = 0;  ///< this rank's among them
  bool has_partial_overlap = false;

  Sharers(const std::vector<RankPlace>& places, int rank) {
    const RankPlace& own = places[static_cast<std::size_t>(rank)];
    for (int r = 0; r < static_cast<int>(places.size()); ++r) {
      const RankPlace& other = places[static_cast<std::size_t>(r)];
      if (other.host != own.host) continue;
      if (CPU_EQUAL(&other.allowed, &own.allowed)) {
        if (r < rank) ++place;
        ++count;
      } else if (overlap(other.allowed, own.allowed)) {
        has_partial_overlap = true;
      }
    }
  }
};

// As many as there are cores, up to what a rank can use.
void set_compute_threads(Binding& binding, std::int64_t cores, int rank) {
  binding.compute_threads =
      static_cast<int>(std::clamp<std::int64_t>(cores, 1, kMaxComputeThreads));
  if (cores <= kMaxComputeThreads) return;
  binding.warning = fmt::format(
      "rank {} computes on {} threads, the most of a rank, though it could use {} cores: more "
      "ranks on the node would use them all",
      rank, kMaxComputeThreads, cores);
}

}  // namespace

Bind bind_of(std::string_view name) {
  for (const auto& [bind, known] : kNames) {
    if (name == known) return bind;
  }
  throw ConfigError(fmt::format("--bind {}: expected core, numa or none", name));
}

std::string_view name_of(Bind bind) {
  return kNames[static_cast<std::size_t>(bind)].second;
}

std::vector<RankPlace> gather_places(RankGroup& ranks) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return ranks.gather(
      RankPlace{.host = std::hash<std::string_view>{}(host.data()), .allowed = own_affinity()});
}

std::vector<std::string> gather_cores(RankGroup& ranks, const Binding& binding) {
  std::vector<std::string> lists;
  for (const cpu_set_t& cores : ranks.gather(binding.rank)) lists.push_back(core_list(cores));
  return lists;
}

Binding plan_binding(const std::vector<RankPlace>& places, int rank, Bind bind,
                     const std::string& synthetic) {
  const cpu_set_t& allowed = places[static_cast<std::size_t>(rank)].allowed;
  const Sharers sharers(places, rank);
  if (bind == Bind::none) {
    const int threads = CPU_COUNT(&allowed);
    Binding binding{.rank = allowed};
    set_compute_threads(binding, threads / sharers.count, rank);
    if (threads < sharers.count) {
      binding.warning = fmt::format("{} ranks share {} cores (rank {}: {}) and take turns",
                                    sharers.count, threads, rank, core_list(allowed));
    }
    return binding;
  }

  if (sharers.has_partial_overlap) {
    throw ConfigError(
        fmt::format("--bind {}: the launcher bound rank {} to cores {}, of which another rank has "
                    "some but not all; let it bind none (mpirun --bind-to none)",
                    name_of(bind), rank, core_list(allowed)));
  }
  const std::vector<cpu_set_t> cores = cores_of(allowed, synthetic);
  if (std::ssize(cores) < sharers.count) {
    throw ConfigError(fmt::format("--bind {}: {} ranks cannot have cores of their own of {} ({})",
                                  name_of(bind), sharers.count, cores.size(), core_list(allowed)));
  }
  const Range own = balanced_part(std::ssize(cores), sharers.place, sharers.count);
  Binding binding{.bind = bind, .rank = no_cores()};
  set_compute_threads(binding, own.size(), rank);
  for (std::int64_t c = own.begin; c < own.end; ++c) {
    CPU_OR(&binding.rank, &binding.rank, &cores[static_cast<std::size_t>(c)]);
  }
  const std::vector<cpu_set_t> nodes =
      topology_parts(TopologyPart::numa_node, binding.rank, synthetic);
  for (int i = 0; i < binding.compute_threads; ++i) {
    const cpu_set_t& core = cores[static_cast<std::size_t>(own.begin + i)];
    binding.compute.push_back(bind == Bind::core ? core : on_node_of(core, binding.rank, nodes));
  }
  return binding;
}

int foresee_threads(int ranks, Bind bind) {
  const cpu_set_t allowed = own_affinity();
  const std::int64_t cores =
      bind == Bind::none ? CPU_COUNT(&allowed) : std::ssize(cores_of(allowed, ""));
  const std::vector<RankPlace> places(static_cast<std::size_t>(std::clamp<std::int64_t>(
                                          ranks, 1, std::max<std::int64_t>(cores, 1))),
                                      RankPlace{.host = 0, .allowed = allowed});
  int most = 1;
  for (int rank = 0; rank < std::ssize(places); ++rank) {
    most = std::max(most, plan_binding(places, rank, bind).compute_threads);
  }
  return most;
}

void apply_to_process(const Binding& binding) {
  if (binding.bind == Bind::none) return;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    // One that ends in between needs no binding.
    sched_setaffinity(std::stoi(thread.path().filename().string()), sizeof binding.rank,
                      &binding.rank);
  }
}

std::string core_list(const cpu_set_t& cores) {
  std::string list;
  for (int first = 0; first < CPU_SETSIZE; ++first) {
    if (!CPU_ISSET(first, &cores)) continue;
    int last = first;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &cores)) ++last;
    if (!list.empty()) list += ',';
    list += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
    first = last;
  }
  return list;
}

SlotBinding::SlotBinding(tbb::task_arena& arena, std::vector<cpu_set_t> slots)
    : tbb::task_scheduler_observer(arena), rank_(own_affinity()), slots_(std::move(slots)) {
  if (!slots_.empty()) observe(true);
}

SlotBinding::~SlotBinding() {
  observe(false);
}

void SlotBinding::on_scheduler_entry(bool /*is_worker*/) {
  const auto slot = static_cast<std::size_t>(tbb::this_task_arena::current_thread_index());
  const cpu_set_t& cores = slots_[slot % slots_.size()];
  sched_setaffinity(0, sizeof cores, &cores);
}

// The thread may go on to another arena.
void SlotBinding::on_scheduler_exit(bool /*is_worker*/) {
  sched_setaffinity(0, sizeof rank_, &rank_);
}

}  // namespace trib::pipeline
