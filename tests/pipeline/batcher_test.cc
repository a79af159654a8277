#include "pipeline/engine/batcher.h"

#include <vector>

#include <gtest/gtest.h>

#include "tests/pipeline/stage_testing.h"

namespace trib::pipeline {
namespace {

SamplerOptions options_of(std::int64_t batch_size, int ranks, int rank) {
  SamplerOptions options;
  options.pieces = {{1}};
  options.order = {ItemOrder::listed};
  options.batch_size = batch_size;
  options.ranks = ranks;
  options.rank = rank;
  return options;
}

PacketPtr packet_of(Budget& budget, std::vector<std::uint64_t> positions, bool skipped = false) {
  auto packet = std::make_shared<Packet>();
  for (const std::uint64_t position : positions) {
    packet->requests.push_back({position, 0, 0, 0, 0});
    packet->credits.push_back(budget.try_acquire(1, 0));
    if (skipped) {
      packet->skipped.push_back(position);
      continue;
    }
    Sample sample;
    sample.x_cyx =
        image_of(1, 1, 1, [&](auto, auto, auto) { return static_cast<double>(position); });
    sample.request = packet->requests.back();
    packet->samples.push_back(std::move(sample));
  }
  return packet;
}

TEST(Batcher, RestoresTheOrderAndClosesUpSkips) {
  Budget budget(100, 100, 100);
  const Sampler order(options_of(3, 1, 0));
  Batcher batcher(3, order);
  EXPECT_TRUE(batcher.add(packet_of(budget, {4, 2, 6}), true).empty());
  EXPECT_TRUE(batcher.add(packet_of(budget, {1}, true), true).empty());
  EXPECT_EQ(batcher.add(packet_of(budget, {3}), true).size(), 0U);
  std::vector<BatchPtr> batches = batcher.add(packet_of(budget, {0}), true);
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_EQ(values_of(batches[0]->x_bchw), (std::vector<float>{0, 2, 3}));
  EXPECT_EQ(budget.items(), 3 + 2);  // the batch, and samples 4 and 6; what was skipped is free
  batches = batcher.add(packet_of(budget, {5, 7, 8, 9}), false);
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_EQ(values_of(batches[0]->x_bchw), (std::vector<float>{4, 5, 6}));
  EXPECT_EQ(values_of(batches[1]->x_bchw), (std::vector<float>{7, 8, 9}));
  EXPECT_EQ(batches[1]->index, 2U);
  EXPECT_EQ(batcher.rest(), nullptr);
  batches.clear();
  EXPECT_EQ(budget.items(), 0);
}

TEST(Batcher, TakesTheShareOfItsRankAndKeepsTheRest) {
  Budget budget(100, 100, 100);
  const Sampler order(options_of(4, 2, 1));  // positions 2, 3, 6, 7, ...
  Batcher batcher(2, order);
  const auto batches = batcher.add(packet_of(budget, {3, 6, 2}), true);
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_EQ(values_of(batches[0]->x_bchw), (std::vector<float>{2, 3}));
  const BatchPtr rest = batcher.rest();
  ASSERT_NE(rest, nullptr);
  EXPECT_EQ(values_of(rest->x_bchw), (std::vector<float>{6}));
  EXPECT_EQ(rest->requests.size(), 1U);
}

TEST(Batcher, BatchesMayBePartsOfTheShareOfARank) {
  Budget budget(100, 100, 100);
  const Sampler order(options_of(12, 2, 1));  // positions 6..11, 18..23, ...
  Batcher batcher(2, order);
  EXPECT_TRUE(batcher.add(packet_of(budget, {8}, true), true).empty());
  const auto batches = batcher.add(packet_of(budget, {18, 11, 9, 7, 6, 10}), true);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_EQ(values_of(batches[0]->x_bchw), (std::vector<float>{6, 7}));
  EXPECT_EQ(values_of(batches[1]->x_bchw), (std::vector<float>{9, 10}));
  EXPECT_EQ(values_of(batches[2]->x_bchw), (std::vector<float>{11, 18}));
}

TEST(Batcher, BeginsWithWhatIsNotUsedUp) {
  Budget budget(100, 100, 100);
  SamplerOptions options = options_of(4, 1, 0);
  options.consumed = {4, 2, {4, 7}};  // open are 4, 5, 7, 8, 9, ...
  const Sampler order(options);
  Batcher batcher(4, order);
  const auto batches = batcher.add(packet_of(budget, {7, 8, 4, 5, 9}), true);
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_EQ(values_of(batches[0]->x_bchw), (std::vector<float>{4, 5, 7, 8}));
}

}  // namespace
}  // namespace trib::pipeline
