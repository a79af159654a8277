#include "pipeline/engine/batch_memory.h"

#include <vector>

#include <gtest/gtest.h>

#include "pipeline/engine/batcher.h"
#include "tests/pipeline/stage_testing.h"

namespace trib::pipeline {
namespace {

SamplerOptions options_of(std::int64_t batch_size, int ranks = 1, int rank = 0) {
  SamplerOptions options;
  options.pieces = {{1}};
  options.order = {ItemOrder::listed};
  options.batch_size = batch_size;
  options.ranks = ranks;
  options.rank = rank;
  return options;
}

// Reads positions as the engine does, and adds them to a batcher.
class Reading {
 public:
  Reading(std::int64_t batch_size, const SamplerOptions& options)
      : order_(options),
        memory_(batch_size, order_, {2, 1, 3}, {1, 1, 3}),
        batcher_(batch_size, order_, &memory_) {}

  Sample read(std::uint64_t position) {
    SampleSlot slot = memory_.slot(position);
    Sample sample;
    sample.x_cyx = image_memory(slot.x_cyx, {2, 1, 3});
    sample.target_vyx = image_memory(slot.target_vyx, {1, 1, 3});
    for (int i = 0; i < 6; ++i) sample.x_cyx.data<float>()[i] = value_of(position, i);
    for (int i = 0; i < 3; ++i) sample.target_vyx.data<float>()[i] = -value_of(position, i);
    sample.request.position = position;
    return sample;
  }

  std::vector<BatchPtr> add(Sample sample) {
    auto packet = std::make_shared<Packet>();
    packet->requests.push_back(sample.request);
    packet->credits.push_back(nullptr);
    packet->samples.push_back(std::move(sample));
    return batcher_.add(packet, true);
  }
  std::vector<BatchPtr> skip(std::uint64_t position) {
    auto packet = std::make_shared<Packet>();
    packet->skipped.push_back(position);
    return batcher_.add(packet, true);
  }

  static float value_of(std::uint64_t position, int i) {
    return static_cast<float>(10 * position) + static_cast<float>(i);
  }

 private:
  Sampler order_;
  BatchMemory memory_;
  Batcher batcher_;
};

void expect_batch(const Batch& batch, const std::vector<std::uint64_t>& positions) {
  std::vector<float> x, target;
  for (const std::uint64_t p : positions) {
    for (int i = 0; i < 6; ++i) x.push_back(Reading::value_of(p, i));
    for (int i = 0; i < 3; ++i) target.push_back(-Reading::value_of(p, i));
  }
  EXPECT_EQ(values_of(batch.x_bchw), x);
  EXPECT_EQ(values_of(batch.target_bvhw), target);
}

TEST(BatchMemory, SamplesAreReadToWhereTheBatchWillBe) {
  Reading reading(3, options_of(3));
  std::vector<Sample> samples;
  for (const std::uint64_t p : {4, 0, 2, 5, 1, 3}) samples.push_back(reading.read(p));
  const float* first = samples[1].x_cyx.data<float>();
  const float* fourth = samples[5].x_cyx.data<float>();
  std::vector<BatchPtr> batches;
  for (Sample& sample : samples) {
    EXPECT_TRUE(sample.x_cyx.is_unique());  // so that stages may work in place
    for (BatchPtr& batch : reading.add(std::move(sample))) batches.push_back(std::move(batch));
  }
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_EQ(batches[0]->x_bchw.data<float>(), first);
  EXPECT_EQ(batches[1]->x_bchw.data<float>(), fourth);
  expect_batch(*batches[0], {0, 1, 2});
  expect_batch(*batches[1], {3, 4, 5});
}

TEST(BatchMemory, IsUsedAgain) {
  Reading reading(2, options_of(2));
  const std::int64_t live = memory_ledger::use(MemoryKind::ingest).live;
  memory_ledger::reset_peaks();
  for (std::uint64_t p = 0; p < 40; ++p) reading.add(reading.read(p));
  EXPECT_EQ(memory_ledger::use(MemoryKind::ingest).peak - live, 2 * (6 + 3) * 4);
}

TEST(BatchMemory, WhatIsSkippedMovesTheOthersUp) {
  Reading reading(3, options_of(3));
  // Read ahead of the skip: 0 .. 6 without 1; then the rest in its new places.
  std::vector<Sample> ahead;
  for (const std::uint64_t p : {0, 2, 3, 4, 5, 6}) ahead.push_back(reading.read(p));
  reading.skip(1);
  std::vector<BatchPtr> batches;
  const auto add = [&](Sample sample) {
    for (BatchPtr& batch : reading.add(std::move(sample))) batches.push_back(std::move(batch));
  };
  for (Sample& sample : ahead) add(std::move(sample));
  ASSERT_EQ(batches.size(), 2U);
  expect_batch(*batches[0], {0, 2, 3});
  expect_batch(*batches[1], {4, 5, 6});
  std::vector<Sample> later;
  for (const std::uint64_t p : {7, 8, 9}) later.push_back(reading.read(p));
  const float* seventh = later[0].x_cyx.data<float>();
  for (Sample& sample : later) add(std::move(sample));
  ASSERT_EQ(batches.size(), 3U);
  expect_batch(*batches[2], {7, 8, 9});
  EXPECT_EQ(batches[2]->x_bchw.data<float>(), seventh);  // in place again
}

TEST(BatchMemory, HoldsTheShareOfARankInMicroBatches) {
  // Batches of 8 over 2 ranks, 2 micro-batches each: rank 1 has 4..7 and 12..15.
  Reading reading(2, options_of(8, 2, 1));
  std::vector<Sample> samples;
  for (const std::uint64_t p : {4, 5, 6, 7, 12, 13}) samples.push_back(reading.read(p));
  std::vector<const float*> expected;
  for (const std::size_t i : {0, 2, 4}) expected.push_back(samples[i].x_cyx.data<float>());
  std::vector<BatchPtr> batches;
  for (Sample& sample : samples) {
    for (BatchPtr& batch : reading.add(std::move(sample))) batches.push_back(std::move(batch));
  }
  ASSERT_EQ(batches.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(batches[i]->x_bchw.data<float>(), expected[i]);
  expect_batch(*batches[2], {12, 13});
}

TEST(BatchMemory, ATrainingThatGoesOnBeginsAnywhere) {
  SamplerOptions options = options_of(4);
  options.consumed = {4, 1, {10}, {}};
  Reading reading(4, options);
  std::vector<BatchPtr> batches;
  for (std::uint64_t p = 10; p < 18; ++p) {
    for (BatchPtr& batch : reading.add(reading.read(p))) batches.push_back(std::move(batch));
  }
  ASSERT_EQ(batches.size(), 2U);
  expect_batch(*batches[0], {10, 11, 12, 13});
  expect_batch(*batches[1], {14, 15, 16, 17});
}

}  // namespace
}  // namespace trib::pipeline
