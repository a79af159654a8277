// Steps that are used again allocate nothing.
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <tbb/task_arena.h>

#include "model/optimizer.h"
#include "tests/model/model_testing.h"
#include "tests/support/allocation_count.h"

namespace trib::model {
namespace {

using test::Head;
using test::SmallModelOptions;

/// Training on two batches in turns.
class Steps {
 public:
  explicit Steps(const SmallModelOptions& options)
      : model_(test::small_model(options)),
        parameters_(model_->table()),
        optimizer_(ShardLayout(model_->table()), {}),
        arena_(static_cast<std::size_t>(model_->arena_bytes(options.batch, true))),
        inputs_(2, test::small_batch(*model_, options.batch)),
        step_(inputs_[0], arena_, parameters_, /*train=*/true) {
    parameters_.initialize(3);
    for (std::uint64_t& key : inputs_[1].sample_keys) key += 50;
  }

  /// One more step: how often it allocated.
  std::int64_t next() {
    const std::int64_t before = test::allocation_count();
    arena_.reset();
    parameters_.zero_gradients();
    step_.input = inputs_[number_++ % 2];
    model_->begin(step_, 5);
    model_->forward(step_);
    model_->backward(step_, parameters_);
    optimizer_.step(parameters_, 1e-3, 1 / (1 + gradient_norm(parameters_)));
    return test::allocation_count() - before;
  }

 private:
  std::unique_ptr<Model> model_;
  Parameters parameters_;
  AdamW optimizer_;
  StepArena arena_;
  std::vector<StepInput> inputs_;
  Step step_;
  std::size_t number_ = 0;
};

class SteadyState : public testing::TestWithParam<SmallModelOptions> {};

TEST_P(SteadyState, AllocatesNothing) {
  tbb::task_arena(1).execute([&] {
    Steps steps(GetParam());
    EXPECT_GT(steps.next(), 0);  // what is kept from then on
    for (int warm_up = 0; warm_up < 2; ++warm_up) steps.next();
    for (int number = 0; number < 5; ++number) EXPECT_EQ(steps.next(), 0) << number;
  });
}

// A thread that joins late allocates scratch memory of its own, once.
TEST_P(SteadyState, AllocatesNothingOnceAllThreadsHaveTheirMemory) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "what tells the sanitizer of tasks allocates for each";
#endif
  tbb::task_arena(2).execute([&] {
    Steps steps(GetParam());
    int quiet = 0;
    for (int number = 0; number < 1000 && quiet < 10; ++number) {
      quiet = steps.next() == 0 ? quiet + 1 : 0;
    }
    EXPECT_EQ(quiet, 10);
  });
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
