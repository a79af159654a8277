// Runs that go on with the samples where others stopped, on any numbers of ranks.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/engine/batcher.h"

namespace trib::pipeline {
namespace {

using Key =
    std::tuple<std::int64_t, int, std::int64_t, std::int32_t>;  // epoch, source, item, piece
using Items = std::set<std::pair<int, std::int64_t>>;           // (source, item)
using Requests = std::vector<SampleRequest>;

Key key_of(const SampleRequest& r) {
  return {r.epoch, r.source, r.item, r.piece};
}

std::vector<std::uint64_t> positions_of(const Requests& requests) {
  std::vector<std::uint64_t> positions;
  for (const SampleRequest& r : requests) positions.push_back(r.position);
  return positions;
}

struct RankResult {
  Requests used;  // in order
  std::int64_t most_in_flight = 0;
  std::int64_t allowed_in_flight = 0;  // as Plan limits the ingest
};

// One rank's part of a run of `steps` steps, of `parts` batches each; samples of `broken` items are
// skipped.
RankResult train_rank(const SamplerOptions& options, const Items& broken, int steps, int parts) {
  Sampler sampler(options);
  const Sampler order(options);
  const std::int64_t share = options.batch_size / options.ranks;
  Batcher batcher(share / parts, order);
  Budget budget(1 << 20, 1 << 20, 1 << 20);
  RankResult result;
  result.allowed_in_flight = sampler.largest_window() + share + sampler.largest_task();
  for (int batches = 0; batches < steps * parts;) {
    const ReadTask task = sampler.next().value();
    auto packet = std::make_shared<Packet>();
    packet->requests = task.requests;
    for (const SampleRequest& request : packet->requests) {
      packet->credits.push_back(budget.try_acquire(1, 0));
      if (broken.contains({request.source, request.item})) {
        packet->skipped.push_back(request.position);
      } else {
        Sample sample;
        sample.x_cyx = Tensor::zeros({1, 1, 1}, DType::f32, MemoryKind::ingest);
        sample.request = request;
        packet->samples.push_back(std::move(sample));
      }
    }
    result.most_in_flight = std::max(result.most_in_flight, budget.items());
    for (const BatchPtr& batch : batcher.add(packet, true)) {
      if (batches++ >= steps * parts) break;  // prepared, but not used
      result.used.insert(result.used.end(), batch->requests.begin(), batch->requests.end());
    }
  }
  return result;
}

struct RunResult {
  std::vector<RankResult> ranks;
  ConsumedSamples consumed;
};

RunResult train(SamplerOptions options, const Items& broken, int ranks, int steps, int parts = 1) {
  RunResult result;
  options.ranks = ranks;
  std::vector<std::uint64_t> places;
  for (options.rank = 0; options.rank < ranks; ++options.rank) {
    result.ranks.push_back(train_rank(options, broken, steps, parts));
    if (steps > 0) places.push_back(result.ranks.back().used.back().position + 1);
  }
  result.consumed = steps == 0 ? options.consumed
                               : options.consumed.continued(options.batch_size, std::move(places));
  return result;
}

// What stands at the first positions of the uninterrupted stream.
std::map<std::uint64_t, Key> stream(SamplerOptions options, std::uint64_t until) {
  options.ranks = 1;
  options.rank = 0;
  options.consumed = {};
  Sampler sampler(options);
  std::map<std::uint64_t, Key> at;
  while (at.size() < until) {
    const ReadTask task = sampler.next().value();
    for (const SampleRequest& r : task.requests) at.emplace(r.position, key_of(r));
  }
  return at;
}

struct Case {
  SamplerOptions options;
  Items broken;
};

// Batches of 12, so that 1, 2, 3, 4, 6 and 12 ranks can share them.
Case random_case(std::mt19937& random) {
  const auto below = [&](int bound) {
    return static_cast<int>(random() % static_cast<unsigned>(bound));
  };
  Case made;
  made.options.seed = random();
  made.options.batch_size = 12;
  made.options.shuffle_window =
      std::vector<std::int64_t>{0, 5, 12, 30, 100}[static_cast<std::size_t>(below(5))];
  const bool shuffled = below(4) > 0;
  for (int source = 0; source <= below(2); ++source) {
    std::vector<std::int32_t> pieces(static_cast<std::size_t>(2 + below(20)));
    for (auto& count : pieces) count = below(5);
    pieces[0] = 1 + below(9);
    made.options.pieces.push_back(pieces);
    made.options.order.push_back(shuffled ? ItemOrder::shuffled : ItemOrder::listed);
    // The first item is good. Without shuffling a rank might meet broken ones for ever.
    for (std::size_t item = 1; shuffled && item < pieces.size(); ++item) {
      if (below(5) == 0) made.broken.emplace(source, static_cast<std::int64_t>(item));
    }
  }
  return made;
}

constexpr int kRanks[] = {1, 2, 3, 4, 6, 12};

// Each leg of a history of runs is compared with a plain enumeration: a rank must use, in order,
// the positions of its shares that no run before it has passed, without the broken ones.
TEST(ResumeSamples, AnyHistoryOfRunsUsesEverySampleOnce) {
  std::mt19937 random(11);
  int ragged = 0;
  for (int round = 0; round < 150; ++round) {
    Case test = random_case(random);
    const std::uint64_t end = 2500;
    const auto at = stream(test.options, end);
    const auto epoch_size = static_cast<std::uint64_t>(Sampler(test.options).samples_per_epoch());
    const auto is_broken = [&](std::uint64_t position) {
      return test.broken.contains({std::get<1>(at.at(position)), std::get<2>(at.at(position))});
    };
    std::set<std::uint64_t> gone, used;
    std::map<std::int64_t, std::multiset<Key>> by_epoch;
    for (int leg = 0; leg < 7; ++leg) {
      const int ranks = kRanks[random() % 6];
      const int steps = static_cast<int>(random() % 5);
      const int parts = 12 / ranks % 2 == 0 ? 1 + static_cast<int>(random() % 2) : 1;
      const RunResult result = train(test.options, test.broken, ranks, steps, parts);
      std::vector<std::uint64_t> passed;
      for (int rank = 0; rank < ranks; ++rank) {
        const RankResult& own = result.ranks[static_cast<std::size_t>(rank)];
        const auto share = static_cast<std::uint64_t>(12 / ranks);
        std::vector<std::uint64_t> expected;
        for (std::uint64_t p = 0; expected.size() < static_cast<std::size_t>(steps) * share; ++p) {
          ASSERT_LT(p, end);
          if (p % 12 / share != static_cast<std::uint64_t>(rank) || gone.contains(p)) continue;
          passed.push_back(p);
          if (!is_broken(p)) expected.push_back(p);
        }
        ASSERT_EQ(positions_of(own.used), expected) << "round " << round << ", leg " << leg;
        EXPECT_LE(own.most_in_flight, own.allowed_in_flight);
        for (const SampleRequest& r : own.used) {
          EXPECT_EQ(key_of(r), at.at(r.position));
          EXPECT_TRUE(used.insert(r.position).second) << r.position << " twice";
          by_epoch[r.epoch].insert(key_of(r));
        }
      }
      gone.insert(passed.begin(), passed.end());
      test.options.consumed = result.consumed;
      for (std::uint64_t p = 0; p < end; ++p) {
        ASSERT_EQ(result.consumed.contains(p), gone.contains(p)) << "position " << p;
      }
      if (!gone.empty() && *gone.rbegin() + 1 != gone.size()) ++ragged;
    }
    // A finished epoch has every good sample exactly once.
    for (const auto& [epoch, keys] : by_epoch) {
      const std::uint64_t begin = static_cast<std::uint64_t>(epoch) * epoch_size;
      if (test.options.consumed.next_open(0) < begin + epoch_size) continue;
      std::multiset<Key> whole;
      for (std::uint64_t p = begin; p < begin + epoch_size; ++p) {
        if (!is_broken(p)) whole.insert(at.at(p));
      }
      EXPECT_EQ(keys, whole) << "epoch " << epoch;
    }
  }
  EXPECT_GT(ragged, 50);  // else nothing was shown of ranks that stand at different places
}

TEST(ResumeSamples, TheSameRanksGoOnAsIfNothingHadHappened) {
  std::mt19937 random(12);
  for (int round = 0; round < 60; ++round) {
    const Case test = random_case(random);
    const int ranks = kRanks[random() % 6];
    const int before = static_cast<int>(random() % 12), after = 5;
    const RunResult whole = train(test.options, test.broken, ranks, before + after);
    const RunResult first = train(test.options, test.broken, ranks, before);
    SamplerOptions resumed = test.options;
    resumed.consumed = first.consumed;
    const RunResult second = train(resumed, test.broken, ranks, after);
    for (int rank = 0; rank < ranks; ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      std::vector<std::uint64_t> joined = positions_of(first.ranks[r].used);
      const auto rest = positions_of(second.ranks[r].used);
      joined.insert(joined.end(), rest.begin(), rest.end());
      EXPECT_EQ(joined, positions_of(whole.ranks[r].used));
    }
    EXPECT_EQ(second.consumed.next_positions, whole.consumed.next_positions);
  }
}

TEST(ResumeSamples, EarlierRunsAreForgottenOnceTheyArePassed) {
  ConsumedSamples consumed;
  consumed = consumed.continued(12, {6, 30});  // of two ranks: 0..5, and 6..11, 18..23, 30..
  EXPECT_TRUE(consumed.earlier.empty());
  consumed = consumed.continued(12, {15, 31});  // the same ranks have all come further
  EXPECT_TRUE(consumed.earlier.empty());
  consumed = ConsumedSamples().continued(12, {6, 30}).continued(12, {15});
  ASSERT_EQ(consumed.earlier.size(), 1U);
  EXPECT_EQ(consumed.next_open(0), 15U);
  EXPECT_EQ(consumed.next_open(18), 24U);
  EXPECT_TRUE(consumed.contains(23));
  consumed = consumed.continued(12, {16, 20, 22});
  EXPECT_EQ(consumed.earlier.size(), 1U);
  EXPECT_TRUE(consumed.contains(23));
  // A border of batches: of each rank the last sample before it is used.
  consumed = consumed.continued(12, {28, 32, 36});
  EXPECT_TRUE(consumed.earlier.empty());
  EXPECT_EQ(consumed.next_open(0), 36U);
}

// Going through all that was before would not end.
TEST(ResumeSamples, WhatIsUsedUpIsNotGoneThrough) {
  SamplerOptions options;
  options.seed = 3;
  options.pieces = {{3, 1, 0, 5}, {2, 2}};  // 13 an epoch
  options.order = {ItemOrder::shuffled, ItemOrder::shuffled};
  options.batch_size = 12;
  options.shuffle_window = 4;
  const std::uint64_t start = 12'000'000'000'000;
  options.consumed = {12, 3, {start - 8, start - 4, start}};
  const RunResult result = train(options, {}, 2, 10);
  std::map<std::int64_t, std::set<Key>> by_epoch;
  for (const RankResult& rank : result.ranks) {
    for (const SampleRequest& r : rank.used) {
      EXPECT_GE(r.position, start);
      EXPECT_EQ(r.epoch, static_cast<std::int64_t>(r.position / 13));
      EXPECT_TRUE(by_epoch[r.epoch].insert(key_of(r)).second);
    }
  }
  EXPECT_EQ(by_epoch.at(start / 13 + 1).size(), 13U);
}

TEST(ResumeSamples, FiniteStreamsEndWhereTheyWould) {
  SamplerOptions options;
  options.pieces = {{3, 4, 4}};
  options.order = {ItemOrder::shuffled};
  options.batch_size = 4;
  options.epochs = 2;  // 22 samples
  const auto count = [&](std::uint64_t next) {
    options.consumed = {4, 1, {next}};
    Sampler sampler(options);
    std::size_t samples = 0;
    while (const auto task = sampler.next()) samples += task->requests.size();
    return samples;
  };
  EXPECT_EQ(count(0), 22U);
  EXPECT_EQ(count(8), 14U);
  EXPECT_EQ(count(13), 9U);
  EXPECT_EQ(count(22), 0U);
  EXPECT_EQ(count(500), 0U);
}

TEST(ResumeSamples, NumbersThatDoNotBelongTogetherAreRefused) {
  SamplerOptions options;
  options.pieces = {{1}};
  options.order = {ItemOrder::shuffled};
  for (const ConsumedSamples& wrong :
       {ConsumedSamples{12, 5, {1, 2, 3, 4, 5}}, ConsumedSamples{12, 2, {4}},
        ConsumedSamples{0, 1, {4}}, ConsumedSamples{12, 0, {4}}, ConsumedSamples{12, -1, {}},
        ConsumedSamples{12, 1, {4}, {ConsumedSamples{12, 2, {4}}}}}) {
    options.consumed = wrong;
    EXPECT_THROW(Sampler{options}, DataError);
  }
}

}  // namespace
}  // namespace trib::pipeline
