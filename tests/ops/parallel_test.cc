#include "ops/base/parallel.h"

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>
#include <tbb/task_arena.h>

namespace trib {
namespace {

std::set<std::pair<std::int64_t, std::int64_t>> pieces(int threads, std::int64_t count,
                                                       std::int64_t grain) {
  std::set<std::pair<std::int64_t, std::int64_t>> seen;
  std::mutex mutex;
  tbb::task_arena(threads).execute([&] {
    parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
      const std::lock_guard lock(mutex);
      seen.insert({begin, end});
    });
  });
  return seen;
}

TEST(ParallelFor, PiecesCoverTheRangeAndDoNotDependOnThreads) {
  const auto one = pieces(1, 1001, 10);
  EXPECT_EQ(one, pieces(2, 1001, 10));
  std::int64_t next = 0;
  for (const auto& [begin, end] : one) {
    EXPECT_EQ(begin, next);
    EXPECT_GE(end - begin, 10);
    next = end;
  }
  EXPECT_EQ(next, 1001);
}

TEST(ParallelFor, RethrowsTheBodysException) {
  EXPECT_THROW(
      parallel_for(8, 1, [](std::int64_t, std::int64_t) { throw std::runtime_error("x"); }),
      std::runtime_error);
  parallel_for(0, 1, [](std::int64_t, std::int64_t) { FAIL(); });
}

TEST(ParallelFor, StopsSoonAfterAnException) {
  std::atomic<int> called{0};
  tbb::task_arena(2).execute([&] {
    EXPECT_THROW(parallel_for(100'000, 1,
                              [&](std::int64_t begin, std::int64_t) {
                                ++called;
                                if (begin == 0) throw std::runtime_error("piece");
                              }),
                 std::runtime_error);
  });
  EXPECT_LT(called, 100'000);
}

// A piece that has begun may rely on its loops.
TEST(ParallelFor, InnerLoopsAreCompleteWhateverHappensAround) {
  std::atomic<int> incomplete{0};
  const auto outer = [&](std::int64_t begin, std::int64_t) {
    if (begin == 0) throw std::runtime_error("piece");
    std::atomic<int> called{0};
    parallel_for(50, 1, [&](std::int64_t, std::int64_t) { ++called; });
    if (called != 50) ++incomplete;
  };
  tbb::task_arena(2).execute(
      [&] { EXPECT_THROW(parallel_for(200, 1, outer), std::runtime_error); });
  EXPECT_EQ(incomplete, 0);
}

TEST(ParallelFor, CallsEachPieceOnceAlsoFromManyLoopsAtATime) {
  constexpr std::int64_t kOuter = 37, kInner = 101;
  for (int threads = 1; threads <= 7; ++threads) {
    std::vector<std::atomic<int>> calls(kOuter * kInner);
    tbb::task_arena(threads).execute([&] {
      parallel_for(kOuter, 1, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t o = first; o < last; ++o) {
          parallel_for(kInner, 1, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
              ++calls[static_cast<std::size_t>(o * kInner + i)];
            }
          });
        }
      });
    });
    for (const auto& count : calls) ASSERT_EQ(count, 1);
  }
}

}  // namespace
}  // namespace trib
