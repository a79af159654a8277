// Steps that are used again allocate nothing.
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "model/optimizer.h"
#include "tests/model/model_testing.h"
#include "tests/support/allocation_count.h"

namespace trib::model {
namespace {

using test::Head;
using test::SmallModelOptions;

class SteadyState : public testing::TestWithParam<SmallModelOptions> {};

TEST_P(SteadyState, AllocatesNothing) {
  const auto model = test::small_model(GetParam());
  Parameters parameters(model->table());
  parameters.initialize(3);
  AdamW optimizer(ShardLayout(model->table()), {});
  StepArena arena(static_cast<std::size_t>(model->arena_bytes(GetParam().batch, true)));
  std::vector<StepInput> inputs(2, test::small_batch(*model, GetParam().batch));
  for (std::uint64_t& key : inputs[1].sample_keys) key += 50;
  Step step(inputs[0], arena, parameters, /*train=*/true);
  std::vector<std::int64_t> allocated;
  for (std::size_t number = 0; number < 8; ++number) {
    const std::int64_t before = test::allocation_count();
    arena.reset();
    parameters.zero_gradients();
    step.restart(inputs[number % 2]);
    model->begin(step, 5);
    model->forward(step);
    model->backward(step, parameters);
    optimizer.step(parameters, 1e-3, 1 / (1 + gradient_norm(parameters)));
    allocated.push_back(test::allocation_count() - before);
  }
  EXPECT_GT(allocated.front(), 0);  // what is kept from then on
  for (std::size_t number = 3; number < allocated.size(); ++number) {
    EXPECT_EQ(allocated[number], 0) << "step " << number;
  }
}

std::vector<SmallModelOptions> models() {
  std::vector<SmallModelOptions> all{
      {},
      {.norm_pix = true, .fused = false},
      {.drop_rate = 0.3, .drop_path_rate = 0.4},
      {.head = Head::forecast, .lead_time = true},
      {.head = Head::forecast, .residual = true, .partitions = 1, .tree = 2},
      {.head = Head::forecast, .aggregation = AggregationKind::linear, .depth = 5, .recompute = 2}};
  const std::size_t count = all.size();
  for (std::size_t i = 0; i < count; ++i) {
    all.push_back(all[i]);
    all.back().precision = Precision::bf16;
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Models, SteadyState, testing::ValuesIn(models()));

}  // namespace
}  // namespace trib::model
