#include "ops/comm/communicator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/mpi_test.h"

namespace trib::ops {
namespace {

using test::communicator;
using testing::HasSubstr;

constexpr MeshAxis kAxes[] = {MeshAxis::data, MeshAxis::shard, MeshAxis::tensor, MeshAxis::samples,
                              MeshAxis::world};

/// The mesh of this test: eight ranks are 2 in all directions, four are 2 data x 2 tensor, three
/// are along data, two along shard.
MeshShape mesh_of(int ranks) {
  if (ranks == 8) return {.data = 2, .shard = 2, .tensor = 2};
  if (ranks == 4) return {.data = 2, .tensor = 2};
  return ranks == 2 ? MeshShape{.shard = 2} : MeshShape{.data = ranks};
}

/// The size of the part of rank i of an axis: the parts differ, and that of every third is empty.
std::int64_t uneven_count(std::size_t i) {
  return i % 3 == 1 ? 0 : 10 + static_cast<std::int64_t>(i);
}

/// The counts of an axis, what is before the part of each rank, and the sum at the end.
struct Parts {
  std::vector<std::int64_t> counts, begins{0};
  explicit Parts(int ranks) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(ranks); ++i) {
      counts.push_back(uneven_count(i));
      begins.push_back(begins.back() + counts.back());
    }
  }
  std::size_t sum() const { return static_cast<std::size_t>(begins.back()); }
};

/// What an error says.
template <class Call>
std::string refusal(Call call) {
  try {
    call().wait();
  } catch (const RuntimeError& error) {
    return error.what();
  }
  return "";
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

TEST_F(Communication, SamplesAreTheRanksOfOneTensorCoordinate) {
  const int tensor = mesh_of(size_).tensor;
  std::vector<int> expected;
  for (int rank = rank_ % tensor; rank < size_; rank += tensor) expected.push_back(rank);
  ASSERT_EQ(comm_.size(MeshAxis::samples), static_cast<int>(expected.size()));
  std::vector<int> members(expected.size());
  comm_
      .all_gather(MeshAxis::samples, std::as_bytes(std::span(&rank_, 1)),
                  std::as_writable_bytes(std::span(members)))
      .wait();
  EXPECT_EQ(members, expected);

  // One sum over samples is the sum over shard and then over data.
  float at_once = std::ldexp(1.0F, rank_), in_turn = at_once, of_members = 0;
  comm_.all_reduce_sum(MeshAxis::samples, std::span(&at_once, 1)).wait();
  comm_.all_reduce_sum(MeshAxis::shard, std::span(&in_turn, 1)).wait();
  comm_.all_reduce_sum(MeshAxis::data, std::span(&in_turn, 1)).wait();
  for (const int rank : expected) of_members += std::ldexp(1.0F, rank);
  EXPECT_EQ(at_once, of_members);
  EXPECT_EQ(in_turn, of_members);
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

// They go to MPI as numbers of 1, 2, 4 or 8 bytes.
TEST_F(Communication, BytesMayBeOfAnyNumber) {
  const auto ranks = static_cast<std::size_t>(comm_.size());
  const auto value = [](std::size_t rank, std::size_t i) {
    return static_cast<std::byte>(17 * rank + i + 1);
  };
  for (std::size_t count = 0; count <= 24; ++count) {
    std::vector<std::byte> mine(count), all(count * ranks), uneven((ranks + 2) * count);
    for (std::size_t i = 0; i < count; ++i) mine[i] = value(static_cast<std::size_t>(rank_), i);
    comm_.all_gather(MeshAxis::world, mine, all).wait();
    // The first rank has more.
    std::vector<std::int64_t> counts(ranks, static_cast<std::int64_t>(count));
    counts.front() *= 3;
    const std::vector<std::byte> part(rank_ == 0 ? 3 * count : count, value(7, count));
    comm_.all_gather(MeshAxis::world, part, uneven, counts).wait();
    for (std::size_t i = 0; i < all.size(); ++i) {
      ASSERT_EQ(all[i], value(i / count, i % count)) << count << " bytes";
    }
    EXPECT_EQ(uneven, std::vector<std::byte>(uneven.size(), value(7, count)));
    comm_.broadcast(MeshAxis::world, mine, 0).wait();
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(mine[i], value(0, i)) << count << " bytes";
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

TEST_F(Communication, UnevenPartsAreGatheredAlsoInPlace) {
  for (const MeshAxis axis : kAxes) {
    const std::vector<int> ranks = group(axis);
    const Parts parts(comm_.size(axis));
    const auto own = static_cast<std::size_t>(comm_.rank(axis));
    const auto count = static_cast<std::size_t>(parts.counts[own]);
    const std::vector<std::byte> mine(count, static_cast<std::byte>(100 + rank_));
    std::vector<std::byte> all(parts.sum()), in_place(all);
    const auto place =
        std::span(in_place).subspan(static_cast<std::size_t>(parts.begins[own]), count);
    std::copy(mine.begin(), mine.end(), place.begin());
    // The counts are the operation's own: those of the caller may go.
    auto counts = std::make_unique<std::vector<std::int64_t>>(parts.counts);
    const Pending first = comm_.all_gather(axis, mine, all, *counts);
    const Pending second = comm_.all_gather(axis, place, in_place, *counts);
    counts->assign(counts->size(), -1);
    counts.reset();
    first.wait();
    second.wait();
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      for (auto k = parts.begins[i]; k < parts.begins[i + 1]; ++k) {
        ASSERT_EQ(all[static_cast<std::size_t>(k)], static_cast<std::byte>(100 + ranks[i]));
      }
    }
    EXPECT_EQ(in_place, all);
  }
}

TEST_F(Communication, UnevenPartsAreReducedAndScattered) {
  for (const MeshAxis axis : kAxes) {
    const Parts parts(comm_.size(axis));
    const auto own = static_cast<std::size_t>(comm_.rank(axis));
    std::vector<float> whole(parts.sum());
    for (std::size_t i = 0; i < whole.size(); ++i) whole[i] = value_of(rank_, i);
    std::vector<float> mine(static_cast<std::size_t>(parts.counts[own]));
    auto counts = std::make_unique<std::vector<std::int64_t>>(parts.counts);
    const Pending pending = comm_.reduce_scatter_sum(axis, whole, mine, *counts);
    counts->assign(counts->size(), -1);
    counts.reset();
    pending.wait();
    for (std::size_t i = 0; i < mine.size(); ++i) {
      double expected = 0;
      for (const int rank : group(axis)) {
        expected += value_of(rank, i + static_cast<std::size_t>(parts.begins[own]));
      }
      ASSERT_FLOAT_EQ(mine[i], static_cast<float>(expected));
    }
  }
}

TEST_F(Communication, AllPartsMayBeEmpty) {
  for (const MeshAxis axis : kAxes) {
    const std::vector<std::int64_t> counts(static_cast<std::size_t>(comm_.size(axis)), 0);
    comm_.all_gather(axis, {}, {}, counts).wait();
    comm_.reduce_scatter_sum(axis, {}, {}, counts).wait();
  }
}

TEST_F(Communication, CountsMustFitTheBuffers) {
  const auto ranks = static_cast<std::size_t>(size_);
  std::vector<float> whole(5 * ranks), mine(5);
  const auto scatter = [&](const std::vector<std::int64_t>& counts) {
    return refusal([&] { return comm_.reduce_scatter_sum(MeshAxis::world, whole, mine, counts); });
  };
  const auto gather = [&](const std::vector<std::int64_t>& counts) {
    return refusal([&] {
      return comm_.all_gather(MeshAxis::world, std::as_bytes(std::span(mine)),
                              std::as_writable_bytes(std::span(whole)), counts);
    });
  };
  EXPECT_EQ(scatter(std::vector<std::int64_t>(ranks, 5)), "");
  EXPECT_EQ(gather(std::vector<std::int64_t>(ranks, 20)), "");

  std::vector<std::int64_t> few(ranks + 1, 5), many(ranks, 5), moved(ranks, 5), negative(ranks, 5);
  many.back() += 2;
  const std::string sum = std::to_string(5 * ranks);
  EXPECT_THAT(scatter(few), HasSubstr("expected " + std::to_string(ranks) + " counts, found " +
                                      std::to_string(ranks + 1)));
  EXPECT_THAT(scatter(many),
              HasSubstr("add up to " + std::to_string(5 * ranks + 2) + ", the whole has " + sum));
  EXPECT_THAT(gather(many), HasSubstr("the whole has " + std::to_string(20 * ranks)));
  negative.front() = -1;
  EXPECT_THAT(scatter(negative), HasSubstr("negative"));
  if (size_ > 1) {
    const auto own = static_cast<std::size_t>(rank_);
    moved[own] += 1;
    moved[(own + 1) % ranks] -= 1;
    EXPECT_THAT(scatter(moved),
                HasSubstr("rank " + std::to_string(rank_) + " should have 6, it has 5"));
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
  constexpr std::size_t kRounds = 50, kCount = 4096, kOfARound = std::size(kAxes);
  std::vector<std::vector<float>> sums;
  std::vector<Pending> pending;
  sums.reserve(kRounds * kOfARound);
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (const MeshAxis axis : kAxes) {
      sums.emplace_back(kCount, static_cast<float>(round + 1));
      pending.push_back(comm_.all_reduce_sum(axis, std::span(sums.back())));
    }
  }
  for (std::size_t i = pending.size(); i-- > 0;) {
    pending[i].wait();
    const auto expected =
        static_cast<float>(static_cast<int>(i / kOfARound + 1) * comm_.size(kAxes[i % kOfARound]));
    EXPECT_EQ(sums[i], std::vector<float>(kCount, expected)) << i;
  }
}

TEST_F(Communication, ASmallOperationOvertakesOneThatWaits) {
  if (comm_.size(MeshAxis::tensor) == 1) GTEST_SKIP() << "needs two axes";
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

TEST_F(Communication, LedgerCountsWhatARankContributesByPhase) {
  const auto before = comm_.traffic().snapshot();
  const auto total_before = comm_.traffic().traffic(Collective::all_gather, MeshAxis::world);
  EXPECT_EQ(comm_.phase(), Phase::setup);
  comm_.enter(Phase::forward);
  EXPECT_EQ(comm_.phase(), Phase::forward);
  const auto ranks = static_cast<std::size_t>(size_);
  std::vector<float> values(100), all(100 * ranks), uneven(100 * ranks - 1);
  const std::span<const std::byte> mine = std::as_bytes(std::span(values));
  comm_.all_reduce_sum(MeshAxis::world, std::span(values)).wait();
  comm_.all_gather(MeshAxis::world, mine, std::as_writable_bytes(std::span(all))).wait();
  comm_.enter(Phase::backward);
  std::vector<std::int64_t> counts(ranks, 100);
  counts.back() -= 1;
  const auto own = std::span(values).first(static_cast<std::size_t>(counts[ranks - 1]));
  const auto part = rank_ + 1 == size_ ? own : std::span(values);
  comm_.reduce_scatter_sum(MeshAxis::world, uneven, part, counts).wait();
  comm_.enter(Phase::optimizer);
  for (std::int64_t& count : counts) count *= 4;
  comm_
      .all_gather(MeshAxis::world, std::as_bytes(part), std::as_writable_bytes(std::span(uneven)),
                  counts)
      .wait();
  comm_.broadcast(MeshAxis::world, std::as_writable_bytes(std::span(values)), 0).wait();
  comm_.barrier(MeshAxis::world).wait();
  comm_.enter(Phase::setup);

  const auto after = comm_.traffic().snapshot();
  using Difference = std::pair<std::int64_t, std::int64_t>;
  const auto difference = [&](Collective collective, Phase phase) {
    const auto c = static_cast<std::size_t>(collective), p = static_cast<std::size_t>(phase);
    const auto a = static_cast<std::size_t>(MeshAxis::world);
    return Difference(after[c][a][p].calls - before[c][a][p].calls,
                      after[c][a][p].bytes - before[c][a][p].bytes);
  };
  // An axis with one rank is not counted.
  const auto expected = [&](std::size_t bytes) {
    return size_ == 1 ? Difference(0, 0) : Difference(1, static_cast<std::int64_t>(bytes));
  };
  EXPECT_EQ(difference(Collective::all_reduce, Phase::forward), expected(400));
  EXPECT_EQ(difference(Collective::all_gather, Phase::forward), expected(400));
  EXPECT_EQ(difference(Collective::reduce_scatter, Phase::backward), expected(400 * ranks - 4));
  EXPECT_EQ(difference(Collective::all_gather, Phase::optimizer), expected(part.size_bytes()));
  EXPECT_EQ(difference(Collective::broadcast, Phase::optimizer), expected(400));
  EXPECT_EQ(difference(Collective::barrier, Phase::optimizer), expected(0));
  EXPECT_EQ(difference(Collective::all_reduce, Phase::backward), Difference(0, 0));

  const auto total = comm_.traffic().traffic(Collective::all_gather, MeshAxis::world);
  EXPECT_EQ(Difference(total.calls - total_before.calls, total.bytes - total_before.bytes),
            size_ == 1 ? Difference(0, 0)
                       : Difference(2, 400 + static_cast<std::int64_t>(part.size_bytes())));
}

/// Whether the times of a record are in order and inside the interval.
bool is_between(const OperationRecord& record, OperationRecord::Time begin,
                OperationRecord::Time end) {
  return begin <= record.submitted && record.submitted <= record.started &&
         record.started <= record.finished && record.finished <= end;
}

TEST_F(Communication, AnObserverIsToldOfEachOperationBeforeItsWaitReturns) {
  // No mutex: wait() orders the records before what follows it.
  std::vector<OperationRecord> records;
  const auto begin = std::chrono::steady_clock::now();
  const auto ranks = static_cast<std::size_t>(size_);
  std::vector<float> values(100), all(100 * ranks);
  comm_.set_observer([&](const OperationRecord& record) { records.push_back(record); });
  const auto expect_told_of = [&](std::size_t number, Collective collective, Phase phase,
                                  std::int64_t bytes) {
    ASSERT_EQ(records.size(), size_ == 1 ? 0 : number);  // an axis with one rank makes no calls
    if (records.empty()) return;
    const OperationRecord& last = records.back();
    EXPECT_EQ(last.collective, collective);
    EXPECT_EQ(last.axis, MeshAxis::world);
    EXPECT_EQ(last.phase, phase);
    EXPECT_EQ(last.bytes, bytes);
    EXPECT_TRUE(is_between(last, begin, std::chrono::steady_clock::now()));
    if (number > 1) {
      EXPECT_LE(records[number - 2].finished, last.submitted);
    }
  };
  comm_.enter(Phase::backward);
  const Pending late = comm_.all_reduce_sum(MeshAxis::world, std::span(values));
  comm_.enter(Phase::optimizer);  // the record has the phase in which it was handed over
  late.wait();
  expect_told_of(1, Collective::all_reduce, Phase::backward, 400);
  comm_
      .all_gather(MeshAxis::world, std::as_bytes(std::span(values)),
                  std::as_writable_bytes(std::span(all)))
      .wait();
  expect_told_of(2, Collective::all_gather, Phase::optimizer, 400);
  comm_.enter(Phase::setup);
  comm_.reduce_scatter_sum(MeshAxis::world, all, values).wait();
  expect_told_of(3, Collective::reduce_scatter, Phase::setup,
                 400 * static_cast<std::int64_t>(ranks));
  comm_.broadcast(MeshAxis::world, std::as_writable_bytes(std::span(values)), 0).wait();
  expect_told_of(4, Collective::broadcast, Phase::setup, 400);
  comm_.barrier(MeshAxis::world).wait();
  expect_told_of(5, Collective::barrier, Phase::setup, 0);
  comm_.set_observer(nullptr);
  comm_.barrier(MeshAxis::world).wait();
  expect_told_of(5, Collective::barrier, Phase::setup, 0);
}

TEST_F(Communication, AnObserverIsToldHowLongAThreadWasBlocked) {
  if (size_ == 1) GTEST_SKIP() << "one rank waits for nobody";
  std::vector<OperationRecord> records;
  comm_.set_observer([&](const OperationRecord& record) { records.push_back(record); });
  // Nobody is blocked by what is complete before it is waited for.
  const Pending early = comm_.barrier(MeshAxis::world);
  while (!early.is_done()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  early.wait();
  // All others are by what the first rank joins late.
  if (rank_ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  comm_.barrier(MeshAxis::world).wait();
  comm_.set_observer(nullptr);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].waited.count(), 0);
  if (rank_ > 0) {
    EXPECT_GT(records[1].waited.count(), 0);
    EXPECT_LE(records[1].waited, records[1].finished - records[1].submitted);
  }
}

TEST_F(Communication, AnObserverCountsAsTheLedgerDoesWhoeverCalls) {
  TrafficLedger seen;
  std::mutex mutex;  // of the other fields: two threads call, one observes
  std::vector<OperationRecord> records;
  const auto begin = std::chrono::steady_clock::now();
  const auto before = comm_.traffic().snapshot();
  comm_.set_observer([&](const OperationRecord& record) {
    seen.record(record.collective, record.axis, record.phase, record.bytes);
    const std::lock_guard lock(mutex);
    records.push_back(record);
  });
  // Each axis is called by one thread, as its order must be that of the other ranks.
  const auto call = [&](MeshAxis axis, std::size_t rounds) {
    const auto ranks = static_cast<std::size_t>(comm_.size(axis));
    std::vector<std::vector<float>> wholes(rounds, std::vector<float>(1000 * ranks, 1)), parts;
    std::vector<Pending> pending;
    parts.assign(rounds, std::vector<float>(1000));
    for (std::size_t i = 0; i < rounds; ++i) {
      pending.push_back(comm_.reduce_scatter_sum(axis, wholes[i], parts[i]));
      if (i % 8 == 7) pending[i - 3].wait();
    }
    for (const Pending& one : pending) one.wait();
  };
  std::thread other([&] { call(MeshAxis::samples, 40); });
  call(MeshAxis::world, 60);
  {
    const std::lock_guard lock(mutex);
    std::size_t of_world = 0;
    for (const OperationRecord& record : records) of_world += record.axis == MeshAxis::world;
    EXPECT_EQ(of_world, size_ == 1 ? 0U : 60U);
  }
  other.join();
  comm_.set_observer(nullptr);
  const auto end = std::chrono::steady_clock::now();

  const auto after = comm_.traffic().snapshot();
  std::int64_t calls = 0;
  for (const MeshAxis axis : kAxes) {
    const auto c = static_cast<std::size_t>(Collective::reduce_scatter);
    const auto a = static_cast<std::size_t>(axis), p = static_cast<std::size_t>(Phase::setup);
    const Traffic found = seen.traffic(Collective::reduce_scatter, axis, Phase::setup);
    EXPECT_EQ(found.calls, after[c][a][p].calls - before[c][a][p].calls) << name_of(axis);
    EXPECT_EQ(found.bytes, after[c][a][p].bytes - before[c][a][p].bytes) << name_of(axis);
    calls += found.calls;
  }
  EXPECT_EQ(static_cast<std::int64_t>(records.size()), calls);
  EXPECT_EQ(calls, (size_ > 1 ? 60 : 0) + (comm_.size(MeshAxis::samples) > 1 ? 40 : 0));
  // On an axis operations start in the order of the calls.
  std::array<OperationRecord::Time, kMeshAxes> last_submitted{};
  std::sort(records.begin(), records.end(),
            [](const auto& a, const auto& b) { return a.started < b.started; });
  for (const OperationRecord& record : records) {
    EXPECT_TRUE(is_between(record, begin, end));
    OperationRecord::Time& last = last_submitted[static_cast<std::size_t>(record.axis)];
    EXPECT_LE(last, record.submitted);
    last = record.submitted;
  }
}

// Open MPI's daemon, which a process without a launcher has no use for.
TEST(Communicator, StartsNoOtherProcess) {
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream children(thread.path() / "children");
    if (!children) GTEST_SKIP() << "the system does not tell the children of a process";
    std::string child;
    EXPECT_FALSE(children >> child) << child;
  }
}

TEST(Pending, OfNothingIsDone) {
  const Pending nothing;
  EXPECT_TRUE(nothing.is_done());
  nothing.wait();
}

}  // namespace
}  // namespace trib::ops
