#include "pipeline/engine/numa.h"

#include <gtest/gtest.h>

namespace trib::pipeline {
namespace {

cpu_set_t cores(int from, int to) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int core = from; core < to; ++core) CPU_SET(core, &set);
  return set;
}

TEST(Numa, NodesShareTheCoresOfTheProcess) {
  const auto nodes_of = [](const cpu_set_t& allowed) {
    return numa_nodes(allowed, "numa:2 core:4 pu:1");
  };
  std::vector<cpu_set_t> nodes = nodes_of(cores(0, 8));
  ASSERT_EQ(nodes.size(), 2U);
  const cpu_set_t first = cores(0, 4), second = cores(4, 8);
  EXPECT_TRUE(CPU_EQUAL(&nodes[0], &first));
  EXPECT_TRUE(CPU_EQUAL(&nodes[1], &second));

  nodes = nodes_of(cores(5, 7));  // bound to a part of one node, as a rank usually is
  ASSERT_EQ(nodes.size(), 1U);
  EXPECT_EQ(CPU_COUNT(&nodes[0]), 2);
}

TEST(Numa, SeesThisMachine) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  int covered = 0;
  for (const cpu_set_t& node : numa_nodes(allowed)) covered += CPU_COUNT(&node);
  EXPECT_EQ(covered, CPU_COUNT(&allowed));
}

}  // namespace
}  // namespace trib::pipeline
