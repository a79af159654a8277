#include "ops/base/step_arena.h"

#include <gtest/gtest.h>

namespace trib {
namespace {

TEST(StepArena, ScopeFreesScratchAndPeakRemembersIt) {
  StepArena arena(1 << 16);
  arena.floats(16);
  const std::size_t kept = arena.used();
  {
    const StepArena::Scope scope(arena);
    arena.floats(1000);
  }
  EXPECT_EQ(arena.used(), kept);
  EXPECT_GE(arena.peak(), kept + 4000);
}

TEST(StepArena, GrowsThenSettlesToOneBlock) {
  StepArena arena;
  for (int i = 0; i < 3; ++i) arena.tensor({1 << 18}).data<float>()[0] = 1;
  const std::size_t peak = arena.peak();
  arena.reset();
  EXPECT_EQ(arena.capacity(), peak);
  for (int i = 0; i < 3; ++i) arena.tensor({1 << 18});
  EXPECT_EQ(arena.capacity(), peak);
}

TEST(StepArena, MemoryIsAligned) {
  StepArena arena(4096);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena.floats(3)) % 64, 0U);
  }
}

}  // namespace
}  // namespace trib
