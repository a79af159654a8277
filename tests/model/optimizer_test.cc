// The optimizer's own promises; its numbers are checked against PyTorch in golden_test.cc.
#include "model/optimizer.h"

#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

namespace trib::model {
namespace {

TEST(AdamW, FirstStepMovesByTheLearningRate) {
  ParameterTable table;
  const ParameterId decayed = table.add({.name = "w", .shape = {2}});
  const ParameterId kept = table.add({.name = "b", .shape = {2}, .decay = false});
  const ParameterId fixed = table.add({.name = "f", .shape = {2}, .trainable = false});
  Parameters parameters(table);
  for (const ParameterId id : {decayed, kept, fixed}) {
    parameters.value(id)[0] = parameters.value(id)[1] = 1;
    parameters.gradient(id)[0] = 3;
    parameters.gradient(id)[1] = -0.01F;
  }
  AdamW adamw(ShardLayout(table), {.weight_decay = 0.5});
  adamw.step(parameters, 0.1);
  // After one step m / sqrt(v) is the sign of the gradient.
  EXPECT_NEAR(parameters.value(decayed)[0], 1 - 0.1 * 0.5 - 0.1, 1e-6);
  EXPECT_NEAR(parameters.value(decayed)[1], 1 - 0.1 * 0.5 + 0.1, 1e-6);
  EXPECT_NEAR(parameters.value(kept)[0], 1 - 0.1, 1e-6);
  EXPECT_NEAR(parameters.value(kept)[1], 1 + 0.1, 1e-6);
  EXPECT_EQ(parameters.value(fixed)[0], 1);
}

TEST(AdamW, ChargesTwoMomentsToTheLedger) {
  ParameterTable table;
  table.add({.name = "w", .shape = {1000}});
  const std::int64_t before = memory_ledger::use(MemoryKind::optimizer).live;
  const AdamW adamw(ShardLayout(table), {});
  EXPECT_EQ(memory_ledger::use(MemoryKind::optimizer).live - before, 2 * 4 * table.flat_size());
}

TEST(GradientNorm, IsEuclideanOverAllParameters) {
  ParameterTable table;
  const ParameterId a = table.add({.name = "a", .shape = {3}});
  const ParameterId b = table.add({.name = "b", .shape = {2, 2}});
  Parameters parameters(table);
  parameters.gradient(a)[2] = 3;
  parameters.gradient(b)[0] = -4;
  parameters.gradient(b)[3] = 12;
  EXPECT_DOUBLE_EQ(gradient_norm(parameters), 13);
}

TEST(CosineSchedule, FollowsTheClosedForm) {
  const CosineSchedule schedule{
      .lr = 1, .start = 0.1, .min_lr = 0.2, .warmup_steps = 10, .total_steps = 50};
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.1);
  EXPECT_DOUBLE_EQ(schedule.at(3), 0.1 + 3 * 0.9 / 9);
  EXPECT_DOUBLE_EQ(schedule.at(9), 1);
  EXPECT_DOUBLE_EQ(schedule.at(10), 1);
  EXPECT_DOUBLE_EQ(schedule.at(20), 0.2 + 0.4 * (1 + std::cos(std::numbers::pi / 4)));
  EXPECT_DOUBLE_EQ(schedule.at(30), 0.6);
  EXPECT_DOUBLE_EQ(schedule.at(50), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(70), 0.2);
}

TEST(CosineSchedule, CopesWithoutWarmUp) {
  const CosineSchedule none{.lr = 1, .min_lr = 0, .warmup_steps = 0, .total_steps = 4};
  EXPECT_DOUBLE_EQ(none.at(0), 1);
  EXPECT_DOUBLE_EQ(none.at(2), 0.5);
  const CosineSchedule one{.lr = 1, .start = 0.1, .warmup_steps = 1, .total_steps = 4};
  EXPECT_DOUBLE_EQ(one.at(0), 0.1);
  EXPECT_DOUBLE_EQ(one.at(1), 1);
}

}  // namespace
}  // namespace trib::model
