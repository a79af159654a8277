#include "pipeline/engine/sampler.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

namespace trib::pipeline {
namespace {

using Key =
    std::tuple<std::int64_t, int, std::int64_t, std::int32_t>;  // epoch, source, item, piece

Key key_of(const SampleRequest& r) {
  return {r.epoch, r.source, r.item, r.piece};
}

SamplerOptions options_of(std::vector<std::vector<std::int32_t>> pieces) {
  SamplerOptions options;
  options.seed = 3;
  options.order.assign(pieces.size(), ItemOrder::shuffled);
  options.pieces = std::move(pieces);
  options.batch_size = 12;
  return options;
}

// What stands at each position of the stream, as one rank sees it.
std::map<std::uint64_t, Key> stream(const SamplerOptions& options, std::uint64_t until) {
  Sampler sampler(options);
  std::map<std::uint64_t, Key> at;
  // Two windows beyond the end: their tasks come in the order of their first positions only.
  const std::uint64_t stop = until + 2 * 64;
  while (std::optional<ReadTask> task = sampler.next()) {
    if (task->requests.front().position > stop) break;
    for (const SampleRequest& r : task->requests) {
      EXPECT_TRUE(at.emplace(r.position, key_of(r)).second)
          << "position " << r.position << " twice";
      EXPECT_EQ(r.item, task->requests.front().item);
    }
  }
  at.erase(at.lower_bound(until), at.end());
  return at;
}

TEST(Sampler, AnEpochHasEverySampleOnce) {
  SamplerOptions options = options_of({{3, 1, 0, 5}, {2, 2}});
  options.epochs = 1;
  options.shuffle_window = 4;
  const auto at = stream(options, 1000);
  std::set<Key> seen;
  for (const auto& [position, key] : at) seen.insert(key);
  EXPECT_EQ(at.size(), 13U);
  EXPECT_EQ(seen.size(), 13U);
  EXPECT_EQ(at.rbegin()->first, 12U);
}

TEST(Sampler, GroupedItemsStandTogether) {
  SamplerOptions options = options_of({std::vector<std::int32_t>(30, 2)});
  options.order = {ItemOrder::grouped};
  options.groups.resize(1);
  for (std::int64_t item = 0; item < 30; ++item) options.groups[0].push_back(item / 7);
  options.epochs = 2;
  std::vector<std::int64_t> groups;
  std::set<std::int64_t> items[2];
  std::vector<std::int64_t> order[2];
  for (const auto& [position, key] : stream(options, 1000)) {
    const auto [epoch, source, item, piece] = key;
    if (groups.empty() || groups.back() != 100 * epoch + item / 7) {
      groups.push_back(100 * epoch + item / 7);
    }
    if (items[epoch].insert(item).second) order[epoch].push_back(item);
  }
  EXPECT_EQ(groups.size(), 2U * 5);  // each group once an epoch
  EXPECT_EQ(items[0].size(), 30U);
  EXPECT_EQ(items[1].size(), 30U);
  EXPECT_NE(order[0], order[1]);
  EXPECT_FALSE(std::is_sorted(order[0].begin(), order[0].end()));
}

TEST(Sampler, RanksShareOneStream) {
  for (const std::int64_t window : {0, 5, 48}) {
    SamplerOptions options = options_of({std::vector<std::int32_t>(7, 5)});
    options.shuffle_window = window;
    const auto whole = stream(options, 200);
    ASSERT_EQ(whole.size(), 200U);
    for (const int ranks : {2, 3, 4}) {
      options.ranks = ranks;
      std::map<std::uint64_t, Key> together;
      for (options.rank = 0; options.rank < ranks; ++options.rank) {
        const auto part = stream(options, 200);
        for (const auto& [position, key] : part) {
          // Contiguous shares of each global batch of 12.
          EXPECT_EQ(static_cast<int>(position % 12) / (12 / ranks), options.rank);
        }
        together.insert(part.begin(), part.end());
      }
      EXPECT_EQ(together, whole) << ranks << " ranks, window " << window;
    }
    options.ranks = 1;
    options.rank = 0;
  }
}

TEST(Sampler, EpochsAndSeedsDiffer) {
  SamplerOptions options = options_of({std::vector<std::int32_t>(50, 1)});
  const auto first = stream(options, 100);
  std::vector<std::int64_t> epoch0, epoch1;
  for (const auto& [position, key] : first) {
    (position < 50 ? epoch0 : epoch1).push_back(std::get<2>(key));
  }
  EXPECT_NE(epoch0, epoch1);
  options.seed = 4;
  EXPECT_NE(stream(options, 100), first);
}

TEST(Sampler, WindowMixesPiecesOfItems) {
  SamplerOptions options = options_of({std::vector<std::int32_t>(8, 16)});
  options.shuffle_window = 64;
  const auto at = stream(options, 64);
  std::set<std::int64_t> items_in_first_batch;
  for (std::uint64_t p = 0; p < 12; ++p) items_in_first_batch.insert(std::get<2>(at.at(p)));
  EXPECT_GE(items_in_first_batch.size(), 3U);
  options.order = {ItemOrder::listed};
  options.shuffle_window = 0;
  EXPECT_EQ(std::get<3>(stream(options, 64).at(17)), 1);  // listed order without shuffling
}

TEST(Sampler, BoundsHoldWhatMustWait) {
  for (const std::int64_t window : {0, 5, 30, 100}) {
    SamplerOptions options = options_of({std::vector<std::int32_t>(9, 7)});
    options.shuffle_window = window;
    options.ranks = 2;
    const Sampler bounds(options);
    Sampler sampler(options);
    for (int i = 0; i < 300; ++i) {
      const auto task = sampler.next();
      EXPECT_LE(static_cast<std::int64_t>(task->requests.size()), bounds.largest_task());
    }
  }
}

TEST(Sampler, OwnPositionsAreTheSharesOfARank) {
  SamplerOptions options = options_of({{1}});
  options.ranks = 3;
  options.rank = 1;  // positions 4..7, 16..19, ...
  const Sampler sampler(options);
  EXPECT_EQ(sampler.own_position(0), 4U);
  EXPECT_EQ(sampler.own_position(6), 6U);
  EXPECT_EQ(sampler.own_position(8), 16U);
  EXPECT_EQ(sampler.own_position(23), 28U);
}

TEST(Sampler, FingerprintTellsStreamsApart) {
  SamplerOptions options = options_of({{3, 1, 5}, {2, 2}});
  options.shuffle_window = 24;
  const std::uint64_t own = Sampler(options).fingerprint();
  SamplerOptions same = options;
  same.ranks = 3;
  same.rank = 2;
  same.batch_size = 6;  // the window stays 24
  same.consumed = {12, 2, {6, 12}};
  EXPECT_EQ(Sampler(same).fingerprint(), own);
  std::set<std::uint64_t> seen{own};
  const auto differs = [&](const char* what, auto change) {
    SamplerOptions other = options;
    change(other);
    EXPECT_TRUE(seen.insert(Sampler(other).fingerprint()).second) << what;
  };
  differs("seed", [](auto& o) { o.seed = 4; });
  differs("one piece", [](auto& o) { o.pieces[0][2] = 4; });
  differs("order of items", [](auto& o) { std::swap(o.pieces[0][0], o.pieces[0][1]); });
  differs("item in another source", [](auto& o) { o.pieces = {{3, 1}, {5, 2, 2}}; });
  differs("order of sources", [](auto& o) { std::swap(o.pieces[0], o.pieces[1]); });
  differs("groups", [](auto& o) {
    o.order[1] = ItemOrder::grouped;
    o.groups = {{}, {0, 0}};
  });
  differs("listed order", [](auto& o) { o.order[1] = ItemOrder::listed; });
  differs("window", [](auto& o) { o.shuffle_window = 25; });
  differs("batch larger than the window", [](auto& o) { o.batch_size = 30; });
  differs("no window", [](auto& o) { o.shuffle_window = 0; });
  // Nothing is drawn in windows: the stream is the same with any batch.
  options.shuffle_window = 0;
  same = options;
  same.batch_size = 30;
  EXPECT_EQ(Sampler(same).fingerprint(), Sampler(options).fingerprint());
  EXPECT_EQ(stream(same, 200), stream(options, 200));
}

}  // namespace
}  // namespace trib::pipeline
