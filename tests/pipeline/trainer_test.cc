// The training loop's work on a step.
#include "pipeline/engine/trainer.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <tbb/task_arena.h>

#include "tests/model/model_testing.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/allocation_count.h"

namespace trib::pipeline {
namespace {

using test::SmallModelOptions;

struct Case {
  const char* name;
  SmallModelOptions model;
  model::ShardingOptions sharding;
};

/// Updates of a small model, on two batches in turns.
class Updates {
 public:
  explicit Updates(const Case& c)
      : model_(test::small_model(c.model)),
        batches_{batch(c.model.batch, 0), batch(c.model.batch, 50)},
        trainer_(plan(c.sharding), model_,
                 model::ShardingPlan(model_->table(), c.sharding, {1, 1, 1}, {}), single_rank(),
                 {.seed = 3,
                  .rank_batch_size = c.model.batch,
                  .input = {},
                  .layer_nodes = names(*model_)}) {}

  StepReport next() {
    for (;;) {
      const std::shared_ptr<model::Step> step = trainer_.begin(batches_[number_++ % 2]);
      model_->forward(*step);
      if (const auto report = trainer_.finish(*step, {})) return *report;
    }
  }

 private:
  static TrainingPlan plan(const model::ShardingOptions& sharding) {
    return {.node = "train",
            .steps = 1000,
            .lr = 1e-3,
            .start_lr = 1e-4,
            .min_lr = 1e-5,
            .warmup_steps = 3,
            .beta1 = 0.9,
            .beta2 = 0.95,
            .eps = 1e-8,
            .clip_norm = 0.5,
            .sharding = sharding};
  }
  static std::vector<std::string> names(const model::Model& model) {
    return std::vector<std::string>(model.layers().size(), "layer of the model with a long name");
  }
  Batch batch(std::int64_t size, std::uint64_t first) const {
    model::StepInput input = test::small_batch(*model_, size);
    Batch batch;
    batch.x_bchw = input.x_bchw;
    batch.target_bvhw = input.target_bvhw;
    batch.lead_hours = input.lead_hours;
    batch.provenance.resize(static_cast<std::size_t>(size));
    for (std::int64_t b = 0; b < size; ++b) {
      batch.requests.push_back({.position = first + static_cast<std::uint64_t>(b)});
    }
    return batch;
  }

  std::shared_ptr<const model::Model> model_;
  Batch batches_[2];
  Trainer trainer_;
  std::size_t number_ = 0;
};

class TrainerSteps : public testing::TestWithParam<Case> {};

// Threads that join late would allocate scratch memory of their own: one thread.
TEST_P(TrainerSteps, AllocateNothingInTheSteadyState) {
  tbb::task_arena(1).execute([&] {
    Updates updates(GetParam());
    for (int warm_up = 0; warm_up < 5; ++warm_up) updates.next();
    const std::int64_t before = test::allocation_count();
    for (int number = 0; number < 200; ++number) {
      updates.next();
      ASSERT_EQ(test::allocation_count() - before, 0) << "update " << number;
    }
  });
}

TEST_P(TrainerSteps, MakeTheLossSmaller) {
  Updates updates(GetParam());
  const StepReport first = updates.next();
  StepReport last = first;
  for (int number = 0; number < 60; ++number) last = updates.next();
  EXPECT_EQ(last.step, first.step + 60);
  EXPECT_LT(last.loss, 0.98 * first.loss);
}

constexpr model::Precision kBf16 = model::Precision::bf16;
INSTANTIATE_TEST_SUITE_P(
    All, TrainerSteps,
    testing::Values(Case{"mae", {}, {}}, Case{"mae_bf16", {.precision = kBf16}, {}},
                    Case{"forecast", {.head = test::Head::forecast, .lead_time = true}, {}},
                    Case{"micro_batches", {}, {.accumulate = 3}},
                    Case{"recompute", {.recompute = 1}, {}}),
    [](const auto& c) { return std::string(c.param.name); });

}  // namespace
}  // namespace trib::pipeline
