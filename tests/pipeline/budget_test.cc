#include "pipeline/stage/budget.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

TEST(Budget, RefusesWhatIsNotFree) {
  Budget budget(10, 1000, 2);
  auto first = budget.try_acquire(4, 900);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(budget.try_acquire(1, 101), nullptr);
  EXPECT_EQ(budget.try_acquire(7, 10), nullptr);
  first.reset();
  EXPECT_NE(budget.try_acquire(10, 1000), nullptr);
  EXPECT_EQ(budget.items(), 0);
  EXPECT_EQ(budget.peak_items(), 10);
  EXPECT_EQ(budget.peak_bytes(), 1000);
}

TEST(Budget, BoundsReadsThatAreNotYetSamples) {
  Budget budget(10, 1000, 2);
  auto first = budget.try_acquire(1, 10);
  auto second = budget.try_acquire(1, 10);
  EXPECT_EQ(budget.try_acquire(1, 10), nullptr);
  const auto sample = first->split(1, 10);
  first.reset();  // the image is gone, its sample is not
  EXPECT_NE(budget.try_acquire(1, 10), nullptr);
  EXPECT_EQ(budget.items(), 2);
}

TEST(Budget, PartsAreGivenBackOneByOne) {
  Budget budget(4, 400, 1);
  int releases = 0;
  budget.on_release([&] { ++releases; });
  auto whole = budget.try_acquire(4, 400);
  auto part = whole->split(1, 100);
  EXPECT_THROW(whole->split(4, 10), RuntimeError);
  whole.reset();
  EXPECT_EQ(budget.items(), 1);
  part.reset();
  EXPECT_EQ(budget.items(), 0);
  EXPECT_EQ(releases, 2);
}

TEST(Budget, NeverExceededByManyThreads) {
  Budget budget(5, 50, 4);
  std::atomic<int> taken{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        if (const auto credit = budget.try_acquire(1 + i % 3, 10)) ++taken;
      }
    });
  }
  threads.clear();
  EXPECT_GT(taken, 0);
  EXPECT_EQ(budget.items(), 0);
  EXPECT_LE(budget.peak_items(), 5);
  EXPECT_LE(budget.peak_bytes(), 50);
}

}  // namespace
}  // namespace trib::pipeline
