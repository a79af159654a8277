// The predictions of memory and arithmetic against what a step takes.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include <gtest/gtest.h>

#include "ops/kernels/gemm.h"
#include "tests/model/model_testing.h"

namespace trib::model {
namespace {

using test::Head;
using test::SmallModelOptions;

std::int64_t peak_of(const Model& model, std::int64_t batch, bool training) {
  Parameters parameters(model.table());
  test::fill_parameters(parameters);
  StepArena arena;
  Step step(test::small_batch(model, batch), arena, parameters, training);
  model.begin(step, 5);
  model.forward(step);
  if (training) model.backward(step, parameters);
  return static_cast<std::int64_t>(arena.peak());
}

class StepMemory : public testing::TestWithParam<SmallModelOptions> {};

TEST_P(StepMemory, IsPredictedToTheByte) {
  const auto model = test::small_model(GetParam());
  const std::int64_t batch = GetParam().batch;
  EXPECT_EQ(peak_of(*model, batch, true), model->arena_bytes(batch, true));
  EXPECT_EQ(peak_of(*model, batch, false), model->arena_bytes(batch, false));
  EXPECT_LT(model->arena_bytes(batch, false), model->arena_bytes(batch, true));
}

INSTANTIATE_TEST_SUITE_P(
    Models, StepMemory,
    testing::Values(
        SmallModelOptions{}, SmallModelOptions{.depth = 0, .batch = 1, .dim = 4},
        SmallModelOptions{.fused = false}, SmallModelOptions{.partitions = 2},
        SmallModelOptions{.batch = 3, .fused = false, .partitions = 2},
        SmallModelOptions{.partitions = 1, .tree = 2},
        SmallModelOptions{.fused = false, .partitions = 1, .tree = 3, .share = false},
        SmallModelOptions{.aggregation = AggregationKind::linear, .fused = false},
        SmallModelOptions{
            .aggregation = AggregationKind::linear, .fused = false, .partitions = 1, .tree = 2},
        SmallModelOptions{.depth = 3, .batch = 3, .dim = 20},
        SmallModelOptions{.aggregation = AggregationKind::linear, .batch = 3, .dim = 12},
        SmallModelOptions{.head = Head::forecast, .lead_time = true, .batch = 3, .dim = 20},
        SmallModelOptions{.head = Head::forecast,
                          .aggregation = AggregationKind::linear,
                          .depth = 1,
                          .batch = 1,
                          .dim = 12},
        SmallModelOptions{.head = Head::forecast, .depth = 0, .residual = true, .dim = 4},
        SmallModelOptions{.drop_rate = 0.3},
        SmallModelOptions{.head = Head::forecast,
                          .depth = 3,
                          .batch = 3,
                          .drop_rate = 0.3,
                          .drop_path_rate = 0.4}));

std::vector<SmallModelOptions> in_bf16() {
  std::vector<SmallModelOptions> all{
      {},
      {.norm_pix = true},
      {.head = Head::forecast, .lead_time = true, .batch = 3, .dim = 20},
      {.head = Head::forecast, .depth = 0, .residual = true, .dim = 4},
      {.head = Head::forecast, .depth = 3, .batch = 3, .drop_rate = 0.3, .drop_path_rate = 0.4},
      {.head = Head::forecast, .depth = 5, .batch = 3, .recompute = 2},
      {.depth = 5, .dim = 40, .recompute = 1, .decoder_depth = 2}};
  for (SmallModelOptions& options : all) options.precision = Precision::bf16;
  return all;
}

INSTANTIATE_TEST_SUITE_P(Bf16, StepMemory, testing::ValuesIn(in_bf16()));

std::vector<SmallModelOptions> recomputed() {
  std::vector<SmallModelOptions> all;
  for (const std::int64_t recompute : {1, 2, 3, 5, 7}) {
    // The encoder alone; with a decoder, where the one's peak is the larger or the other's.
    all.push_back({.head = Head::forecast, .depth = 5, .batch = 3, .recompute = recompute});
    all.push_back({.depth = 5, .recompute = recompute, .decoder_depth = 5});
    all.push_back({.depth = 1, .dim = 4, .recompute = recompute, .decoder_depth = 5});
    all.push_back({.depth = 5, .dim = 40, .recompute = recompute, .decoder_depth = 2});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Recomputed, StepMemory, testing::ValuesIn(recomputed()));

// Five blocks of six tokens; the formula of docs/stages/model.encoder.md.
TEST(EncoderMemory, ShrinksByWhatIsRunAgain) {
  const std::int64_t batch = 2, rows = batch * 6, dim = 40, heads = 2, hidden = 2 * dim;
  const std::int64_t x = 4 * rows * dim;
  const std::int64_t block = 4 * rows * (6 * dim + hidden + heads + 2);
  const auto peak = [&](std::int64_t recompute) {
    const auto model =
        test::small_model({.head = Head::forecast, .depth = 5, .dim = dim, .recompute = recompute});
    const LayerMemory encoder = model->layers()[2]->memory(batch);
    return encoder.saved + encoder.backward_scratch;
  };
  // Each buffer is rounded up to 64 bytes: deviations and the lse of each block.
  const auto expect_near = [&](std::int64_t saved, std::int64_t expected) {
    EXPECT_LE(std::abs(saved - expected), 5 * 5 * 64) << saved << " and not " << expected;
  };
  expect_near(peak(0) - peak(1), 4 * block - 5 * x);
  expect_near(peak(0) - peak(2), 3 * block - 3 * x);
  expect_near(peak(0) - peak(5), -x);
}

// What is dropped is drawn again in backward.
TEST(StepMemory, TakesNoMasksOfDropout) {
  const auto saved = [](const SmallModelOptions& options) {
    return test::small_model(options)->layers()[2]->memory(2).saved;
  };
  EXPECT_EQ(saved({.drop_rate = 0.3, .drop_path_rate = 0.4}), saved({}));
}

// Operations of the matrix products of a training step, layer by layer.
TEST(StepFlops, AreThoseOfTheMatrixProducts) {
  const auto model = test::small_model(
      {.head = Head::forecast, .aggregation = AggregationKind::linear, .depth = 0, .fused = false});
  const std::int64_t batch = 3;
  Parameters parameters(model->table());
  StepArena arena;
  Step step(test::small_batch(*model, batch), arena, parameters, /*train=*/true);
  model->begin(step, 5);
  const std::int64_t before = ops::gemm_flops();
  model->forward(step);
  model->backward(step, parameters);
  // The linear aggregation is a sum over channels, no matrix product.
  const std::int64_t aggregation = model->layers()[1]->flops(batch);
  EXPECT_EQ(ops::gemm_flops() - before, model->flops(batch) - aggregation);
}

TEST(StepFlops, CountAttention) {
  const std::int64_t batch = 2, tokens = 6, dim = 16;
  const auto without = test::small_model({.head = Head::forecast, .depth = 0});
  const auto with = test::small_model({.head = Head::forecast, .depth = 1});
  // 4 D^2 for attention's projections, 2 * 2 D^2 for an MLP of ratio 2; three products each.
  const std::int64_t rows = batch * tokens;
  const std::int64_t linear = 3 * 2 * rows * (4 + 4) * dim * dim;
  const std::int64_t attention = 7 * 2 * batch * tokens * tokens * dim;
  EXPECT_EQ(with->flops(batch) - without->flops(batch), linear + attention);
}

}  // namespace
}  // namespace trib::model
