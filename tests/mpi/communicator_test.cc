#include "ops/comm/communicator.h"

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/mpi_test.h"

namespace trib::ops {
namespace {

using test::communicator;

constexpr MeshAxis kAxes[] = {MeshAxis::data, MeshAxis::shard, MeshAxis::tensor, MeshAxis::world};

/// The mesh of this test: four ranks are 2 data x 2 tensor, two are 2 tensor.
MeshShape mesh_of(int ranks) {
  return ranks == 4 ? MeshShape{.data = 2, .tensor = 2} : MeshShape{.tensor = ranks};
}

/// Different in every element and rank, with rounding errors that depend on the order of addition.
float value_of(int rank, std::size_t i) {
  return 1.0f / static_cast<float>(1 + rank + 3 * (i % 1000)) + static_cast<float>(rank);
}

class Communication : public testing::Test {
 protected:
  Communicator& comm_ = communicator();
  const int rank_ = comm_.rank();
  const int size_ = comm_.size();
  std::vector<int> group(MeshAxis axis) const { return comm_.mesh().group(axis, rank_); }
};

TEST_F(Communication, RefusesAMeshThatDoesNotFitAndThenTakesOne) {
  EXPECT_THROW(comm_.split({.data = 3, .shard = 5}), ConfigError);
  EXPECT_THROW(comm_.split({.data = 0}), ConfigError);
  if (size_ > 1) {
    EXPECT_THROW(comm_.size(MeshAxis::tensor), RuntimeError);
  }
  comm_.split(mesh_of(size_));
  EXPECT_EQ(comm_.mesh(), mesh_of(size_));
  for (const MeshAxis axis : kAxes) {
    const std::vector<int> ranks = group(axis);
    ASSERT_EQ(comm_.size(axis), static_cast<int>(ranks.size())) << name_of(axis);
    EXPECT_EQ(ranks[static_cast<std::size_t>(comm_.rank(axis))], rank_) << name_of(axis);
  }
  EXPECT_THROW(Communicator second, RuntimeError);
}

TEST_F(Communication, AllReduceAddsUpAndIsTheSameOnAllRanks) {
  for (const MeshAxis axis : kAxes) {
    for (const std::size_t count : {0, 1, 7, 1000, 300'000}) {
      std::vector<float> sums(count);
      std::vector<double> doubles(count);
      for (std::size_t i = 0; i < count; ++i) doubles[i] = sums[i] = value_of(rank_, i);
      const Pending first = comm_.all_reduce_sum(axis, std::span(sums));
      const Pending second = comm_.all_reduce_sum(axis, std::span(doubles));
      second.wait();
      first.wait();
      EXPECT_TRUE(first.is_done());
      for (std::size_t i = 0; i < count; ++i) {
        double expected = 0;
        for (const int rank : group(axis)) expected += value_of(rank, i);
        ASSERT_NEAR(doubles[i], expected, 1e-12 * expected);
        ASSERT_FLOAT_EQ(sums[i], static_cast<float>(expected));
      }
      const std::size_t bytes = count * sizeof(float);
      std::vector<float> all(count * static_cast<std::size_t>(comm_.size(axis)));
      comm_.all_gather(axis, std::as_bytes(std::span(sums)), std::as_writable_bytes(std::span(all)))
          .wait();
      for (int i = 0; i < comm_.size(axis); ++i) {
        ASSERT_EQ(0, bytes == 0 ? 0
                                : std::memcmp(all.data() + static_cast<std::size_t>(i) * count,
                                              sums.data(), bytes));
      }
    }
  }
}

TEST_F(Communication, AllGatherOrdersByRankAlsoInPlace) {
  for (const MeshAxis axis : kAxes) {
    const std::vector<int> ranks = group(axis);
    const std::vector<int> mine(5, 100 + rank_);
    std::vector<int> all(5 * ranks.size(), -1), in_place(all);
    const auto place =
        std::span(in_place).subspan(5 * static_cast<std::size_t>(comm_.rank(axis)), 5);
    std::copy(mine.begin(), mine.end(), place.begin());
    comm_.all_gather(axis, std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)))
        .wait();
    comm_.all_gather(axis, std::as_bytes(place), std::as_writable_bytes(std::span(in_place)))
        .wait();
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], 100 + ranks[i / 5]);
    EXPECT_EQ(in_place, all);
  }
}

TEST_F(Communication, ReduceScatterKeepsTheOwnPartOfTheSum) {
  constexpr std::size_t kPart = 33;
  for (const MeshAxis axis : kAxes) {
    std::vector<float> parts(kPart * static_cast<std::size_t>(comm_.size(axis)));
    for (std::size_t i = 0; i < parts.size(); ++i) parts[i] = value_of(rank_, i);
    std::vector<float> mine(kPart);
    comm_.reduce_scatter_sum(axis, parts, mine).wait();
    for (std::size_t i = 0; i < kPart; ++i) {
      double expected = 0;
      for (const int rank : group(axis)) {
        expected += value_of(rank, i + kPart * static_cast<std::size_t>(comm_.rank(axis)));
      }
      ASSERT_FLOAT_EQ(mine[i], static_cast<float>(expected));
    }
    std::vector<float> wrong(kPart + 1);
    EXPECT_THROW(comm_.reduce_scatter_sum(axis, parts, wrong).wait(), RuntimeError);
  }
}

TEST_F(Communication, BroadcastGivesWhatTheRootHas) {
  for (const MeshAxis axis : kAxes) {
    for (int root = 0; root < comm_.size(axis); ++root) {
      std::string text = "from rank " + std::to_string(rank_);
      comm_.broadcast(axis, std::as_writable_bytes(std::span(text)), root).wait();
      EXPECT_EQ(text, "from rank " + std::to_string(group(axis)[static_cast<std::size_t>(root)]));
    }
    std::string text;
    EXPECT_THROW(
        comm_.broadcast(axis, std::as_writable_bytes(std::span(text)), comm_.size(axis)).wait(),
        RuntimeError);
  }
}

TEST_F(Communication, ManyOperationsMayBeInFlightOnAllAxes) {
  constexpr std::size_t kRounds = 50, kCount = 4096;
  std::vector<std::vector<float>> sums;
  std::vector<Pending> pending;
  sums.reserve(kRounds * 4);
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (const MeshAxis axis : kAxes) {
      sums.emplace_back(kCount, static_cast<float>(round + 1));
      pending.push_back(comm_.all_reduce_sum(axis, std::span(sums.back())));
    }
  }
  for (std::size_t i = pending.size(); i-- > 0;) {
    pending[i].wait();
    const auto expected =
        static_cast<float>(static_cast<int>(i / 4 + 1) * comm_.size(kAxes[i % 4]));
    EXPECT_EQ(sums[i], std::vector<float>(kCount, expected)) << i;
  }
}

TEST_F(Communication, ASmallOperationOvertakesOneThatWaits) {
  if (size_ != 4) GTEST_SKIP() << "needs two axes";
  // Ranks of data coordinate 1 are late for the barrier along data; the tensor axis is unaffected.
  const bool is_late = comm_.rank(MeshAxis::data) == 1;
  Pending late = is_late ? Pending() : comm_.barrier(MeshAxis::data);
  float one = 1;
  comm_.all_reduce_sum(MeshAxis::tensor, std::span(&one, 1)).wait();
  EXPECT_EQ(one, 2);
  comm_.barrier(MeshAxis::world).wait();
  if (!is_late) {
    EXPECT_FALSE(late.is_done());
  }
  comm_.barrier(MeshAxis::world).wait();
  if (is_late) late = comm_.barrier(MeshAxis::data);
  late.wait();
}

TEST_F(Communication, BarrierHoldsUntilAllAreThere) {
  float arrived = 0;
  for (int last = 0; last < size_; ++last) {
    const auto begin = std::chrono::steady_clock::now();
    if (rank_ == last) std::this_thread::sleep_for(std::chrono::milliseconds(60));
    comm_.barrier(MeshAxis::world).wait();
    arrived += 1;
    if (size_ > 1) {
      EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(10));
    }
    comm_.barrier(MeshAxis::world).wait();
  }
  EXPECT_EQ(arrived, static_cast<float>(size_));
}

TEST_F(Communication, LedgerCountsCallsAndBytesExceptOnAxesOfOneRank) {
  const auto before = comm_.traffic().snapshot();
  std::vector<float> values(100);
  std::vector<float> all(100 * static_cast<std::size_t>(comm_.size(MeshAxis::tensor)));
  comm_.all_reduce_sum(MeshAxis::world, std::span(values)).wait();
  comm_.all_reduce_sum(MeshAxis::shard, std::span(values)).wait();  // one rank on all meshes here
  comm_
      .all_gather(MeshAxis::tensor, std::as_bytes(std::span(values)),
                  std::as_writable_bytes(std::span(all)))
      .wait();
  const auto after = comm_.traffic().snapshot();
  const auto difference = [&](Collective collective, MeshAxis axis) {
    const auto c = static_cast<std::size_t>(collective), a = static_cast<std::size_t>(axis);
    return std::pair(after[c][a].calls - before[c][a].calls,
                     after[c][a].bytes - before[c][a].bytes);
  };
  using Difference = std::pair<std::int64_t, std::int64_t>;
  const bool is_alone = size_ == 1;
  EXPECT_EQ(difference(Collective::all_reduce, MeshAxis::world),
            is_alone ? Difference(0, 0) : Difference(1, 400));
  EXPECT_EQ(difference(Collective::all_reduce, MeshAxis::shard), Difference(0, 0));
  EXPECT_EQ(difference(Collective::all_gather, MeshAxis::tensor),
            is_alone ? Difference(0, 0) : Difference(1, 800));
}

TEST(Pending, OfNothingIsDone) {
  const Pending nothing;
  EXPECT_TRUE(nothing.is_done());
  nothing.wait();
}

}  // namespace
}  // namespace trib::ops
