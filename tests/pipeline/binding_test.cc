#include "pipeline/engine/binding.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "ops/base/parallel.h"
#include "pipeline/engine/threads.h"

namespace trib::pipeline {
namespace {

constexpr const char* kTwoNodes = "numa:2 core:4 pu:1";
constexpr const char* kHardwareThreads = "numa:1 core:4 pu:2";

RankPlace place(int from, int to, std::uint64_t host = 1) {
  RankPlace made{.host = host};
  CPU_ZERO(&made.allowed);
  for (int core = from; core < to; ++core) CPU_SET(core, &made.allowed);
  return made;
}

std::vector<std::string> cores_of_ranks(const std::vector<RankPlace>& places, Bind bind,
                                        const char* machine) {
  std::vector<std::string> lists;
  for (int rank = 0; rank < static_cast<int>(places.size()); ++rank) {
    lists.push_back(core_list(plan_binding(places, rank, bind, machine).rank));
  }
  return lists;
}

std::vector<std::string> compute_lists(const Binding& binding) {
  std::vector<std::string> lists;
  for (const cpu_set_t& cores : binding.compute) lists.push_back(core_list(cores));
  return lists;
}

using Lists = std::vector<std::string>;

TEST(Binding, NamesThemselves) {
  for (const char* name : {"none", "numa", "core"}) EXPECT_EQ(name_of(bind_of(name)), name);
  EXPECT_THROW(bind_of("socket"), ConfigError);
}

TEST(Binding, RanksOfANodeHaveCoresOfTheirOwn) {
  const std::vector<RankPlace> places(3, place(0, 8));
  EXPECT_EQ(cores_of_ranks(places, Bind::core, kTwoNodes), (Lists{"0-1", "2-4", "5-7"}));
  EXPECT_EQ(cores_of_ranks(places, Bind::numa, kTwoNodes), (Lists{"0-1", "2-4", "5-7"}));
  const Binding last = plan_binding(places, 2, Bind::core, kTwoNodes);
  EXPECT_EQ(last.compute_threads, 3);
  EXPECT_EQ(compute_lists(last), (Lists{"5", "6", "7"}));
}

TEST(Binding, WarnsOfCoresThatARankCannotUse) {
  const char* const large = "numa:2 core:32 pu:1";
  for (const Bind bind : {Bind::none, Bind::numa, Bind::core}) {
    const Binding binding = plan_binding({place(0, 64)}, 0, bind, large);
    EXPECT_EQ(binding.compute_threads, kMaxComputeThreads);
    EXPECT_EQ(binding.warning,
              "rank 0 computes on 32 threads, the most of a rank, though it could use 64 cores: "
              "more ranks on the node would use them all");
    const std::vector<RankPlace> two(2, place(0, 64));
    EXPECT_EQ(plan_binding(two, 1, bind, large).compute_threads, 32);
    EXPECT_TRUE(plan_binding(two, 1, bind, large).warning.empty());
  }
}

TEST(Binding, ComputingThreadsStayOnANodeOfTheirRanks) {
  const std::vector<RankPlace> places(3, place(0, 8));
  // Rank 1 has cores of both nodes.
  EXPECT_EQ(compute_lists(plan_binding(places, 1, Bind::numa, kTwoNodes)),
            (Lists{"2-3", "2-3", "4"}));
  EXPECT_EQ(compute_lists(plan_binding(places, 0, Bind::numa, kTwoNodes)), (Lists{"0-1", "0-1"}));
}

TEST(Binding, AThreadHasACoreWithAllItsHardwareThreads) {
  const Binding binding = plan_binding({place(0, 8)}, 0, Bind::core, kHardwareThreads);
  EXPECT_EQ(binding.compute_threads, 4);
  EXPECT_EQ(compute_lists(binding), (Lists{"0-1", "2-3", "4-5", "6-7"}));
}

TEST(Binding, RanksOfOtherNodesDoNotShare) {
  const std::vector<RankPlace> places{place(0, 8, 1), place(0, 8, 2), place(0, 8, 1),
                                      place(0, 8, 2)};
  EXPECT_EQ(cores_of_ranks(places, Bind::core, kTwoNodes), (Lists{"0-3", "0-3", "4-7", "4-7"}));
}

TEST(Binding, KeepsToWhatTheLauncherBound) {
  const std::vector<RankPlace> places{place(0, 4), place(0, 4), place(4, 8)};
  EXPECT_EQ(cores_of_ranks(places, Bind::core, kTwoNodes), (Lists{"0-1", "2-3", "4-7"}));
  EXPECT_EQ(plan_binding(places, 0, Bind::none, kTwoNodes).compute_threads, 2);
  EXPECT_EQ(plan_binding(places, 2, Bind::none, kTwoNodes).compute_threads, 4);
}

TEST(Binding, RefusesMoreRanksThanCores) {
  const std::vector<RankPlace> places(5, place(0, 4));
  try {
    plan_binding(places, 0, Bind::core, kTwoNodes);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "--bind core: 5 ranks cannot have cores of their own of 4 (0-3)");
  }
  const Binding turns = plan_binding(places, 0, Bind::none, kTwoNodes);
  EXPECT_EQ(turns.compute_threads, 1);
  EXPECT_EQ(turns.warning, "5 ranks share 4 cores (rank 0: 0-3) and take turns");
  EXPECT_TRUE(plan_binding({place(0, 4)}, 0, Bind::none, kTwoNodes).warning.empty());
}

TEST(Binding, RefusesCoresThatOverlap) {
  const std::vector<RankPlace> places{place(0, 4), place(2, 6)};
  EXPECT_THROW(plan_binding(places, 0, Bind::core, kTwoNodes), ConfigError);
}

cpu_set_t own_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

TEST(Binding, ComputingThreadsHaveTheirPlacesAndIoThreadsAll) {
  const RankPlace here{.host = 1, .allowed = own_affinity()};
  const Binding binding = plan_binding({here}, 0, Bind::core);
  Threads threads(binding.compute_threads, 2, binding.compute);
  std::atomic<int> wrong{0};
  threads.compute_and_wait([&] {
    parallel_for(256, 1, [&](std::int64_t, std::int64_t) {
      const cpu_set_t now = own_affinity();
      const auto slot = static_cast<std::size_t>(tbb::this_task_arena::current_thread_index());
      if (!CPU_EQUAL(&now, &binding.compute[slot])) ++wrong;
    });
  });
  EXPECT_EQ(wrong, 0);
  threads.for_each_io(64, [&](std::int64_t) {
    const cpu_set_t now = own_affinity();
    if (!CPU_EQUAL(&now, &here.allowed)) ++wrong;
  });
  EXPECT_EQ(wrong, 0);
  const cpu_set_t after = own_affinity();
  EXPECT_TRUE(CPU_EQUAL(&after, &here.allowed));
}

}  // namespace
}  // namespace trib::pipeline
