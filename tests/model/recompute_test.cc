// Blocks that backward runs again: the same training to the bit, in less memory, and the order in
// which units are visited.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/optimizer.h"
#include "ops/base/error.h"
#include "tests/model/model_testing.h"

namespace trib::model {
namespace {

using test::Head;
using test::SmallModelOptions;

SmallModelOptions options_of(Head head, std::int64_t depth, std::int64_t recompute) {
  return {.head = head,
          .depth = depth,
          .lead_time = head == Head::forecast,
          .batch = 3,
          .drop_rate = 0.3,
          .drop_path_rate = 0.4,
          .recompute = recompute,
          .decoder_depth = depth};
}

// --- the same training ---------------------------------------------------------------------------

struct Trained {
  std::vector<double> losses;
  std::vector<std::vector<float>> gradients;  // of each step, all parameters
  std::vector<float> values;
  std::size_t peak = 0;
};

std::vector<float> copy_of(const Tensor& flat) {
  return {flat.data<float>(), flat.data<float>() + flat.numel()};
}

Trained train(const SmallModelOptions& options) {
  const auto model = test::small_model(options);
  Parameters parameters(model->table());
  test::fill_parameters(parameters);
  AdamW optimizer(ShardLayout(model->table()), {});
  StepArena arena;
  Trained trained;
  for (std::uint64_t number = 0; number < 3; ++number) {
    arena.reset();
    parameters.zero_gradients();
    StepInput input = test::small_batch(*model, options.batch);
    for (std::uint64_t& key : input.sample_keys) key += 100 * number;
    Step step(std::move(input), arena, parameters, /*train=*/true);
    model->begin(step, 5);
    model->forward(step);
    model->backward(step, parameters);
    trained.losses.push_back(step.loss);
    trained.gradients.push_back(copy_of(parameters.flat_gradients()));
    optimizer.step(parameters, 1e-2);
  }
  trained.values = copy_of(parameters.flat_values());
  trained.peak = arena.peak();
  return trained;
}

class Recompute : public testing::TestWithParam<std::tuple<Head, std::int64_t, std::int64_t>> {};

TEST_P(Recompute, TrainsTheSameToTheBit) {
  const auto [head, depth, recompute] = GetParam();
  const Trained kept = train(options_of(head, depth, 0));
  const Trained again = train(options_of(head, depth, recompute));
  EXPECT_NE(kept.losses[0], kept.losses[2]);
  EXPECT_EQ(again.losses, kept.losses);
  EXPECT_EQ(again.gradients, kept.gradients);
  EXPECT_EQ(again.values, kept.values);
  if (depth == 0) {
    EXPECT_EQ(again.peak, kept.peak);
  } else if (recompute < depth) {
    EXPECT_LT(again.peak, kept.peak);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Recompute,
                         testing::Combine(testing::Values(Head::mae, Head::forecast),
                                          testing::Values(0, 1, 5), testing::Values(1, 2, 3, 7)));

TEST(Recompute, CountsUsefulOperationsAlone) {
  EXPECT_EQ(test::small_model(options_of(Head::mae, 5, 2))->flops(3),
            test::small_model(options_of(Head::mae, 5, 0))->flops(3));
}

TEST(Recompute, RefusesANegativeNumber) {
  EXPECT_THROW(test::small_model({.recompute = -1}), ConfigError);
}

// --- the order of units --------------------------------------------------------------------------

// Has only the unit in place that the model has entered, and gradients only in the backward pass:
// a use outside of a visit throws.
class Recorder : public UnitVisitor {
 public:
  explicit Recorder(const Model& model) : model_(model), whole_(model.table()) {
    test::fill_parameters(whole_);
  }

  void place_in(Parameters& parameters) { placed_ = &parameters; }

  void enter(int unit, int next, Pass pass) override {
    const ParameterTable& table = model_.table();
    if (unit_ >= 0) {
      placed_->place_values(unit_, nullptr);
      placed_->place_gradients(unit_, nullptr);
    }
    const ParameterId first = table.unit(unit).first;
    placed_->place_values(unit, whole_.value(first));
    if (pass == Pass::backward) placed_->place_gradients(unit, whole_.gradient(first));
    if (announced_ >= 0) {
      EXPECT_EQ(unit, announced_) << "after " << visits_.back();
    }
    unit_ = unit;
    announced_ = next;
    visits_.push_back(fmt::format("{}{}", pass == Pass::forward ? "" : "-", table.unit(unit).name));
  }

  const std::vector<std::string>& visits() const { return visits_; }
  const Parameters& whole() const { return whole_; }

 private:
  const Model& model_;
  Parameters whole_;
  Parameters* placed_ = nullptr;
  int unit_ = -1, announced_ = -1;
  std::vector<std::string> visits_;
};

// One step with units in place for their visits only.
class Visits {
 public:
  explicit Visits(const SmallModelOptions& options)
      : model_(test::small_model(options)), recorder_(*model_) {
    Parameters parameters(model_->table(), recorder_);
    recorder_.place_in(parameters);
    StepArena arena;
    Step step(test::small_batch(*model_, options.batch), arena, parameters, /*train=*/true);
    model_->begin(step, 5);
    model_->forward(step);
    model_->backward(step, parameters);
  }

  const std::vector<std::string>& names() const { return recorder_.visits(); }
  std::vector<float> gradients() const { return copy_of(recorder_.whole().flat_gradients()); }

 private:
  std::unique_ptr<Model> model_;
  Recorder recorder_;
};

using testing::ElementsAre;

TEST(RecomputeUnits, AreVisitedOnceEachWayWithoutIt) {
  const Visits visits(options_of(Head::forecast, 3, 0));
  EXPECT_THAT(visits.names(), ElementsAre("stem", "blocks.0", "blocks.1", "blocks.2", "norm",
                                          "-norm", "-blocks.2", "-blocks.1", "-blocks.0", "-stem"));
}

TEST(RecomputeUnits, AreVisitedOnceEachWayBlockByBlock) {
  const Visits visits(options_of(Head::forecast, 3, 1));
  EXPECT_EQ(visits.names(), Visits(options_of(Head::forecast, 3, 0)).names());
}

TEST(RecomputeUnits, AreVisitedAgainSegmentBySegment) {
  EXPECT_THAT(Visits(options_of(Head::forecast, 5, 2)).names(),
              ElementsAre("stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4",
                          "norm", "-norm",                       //
                          "-blocks.4",                           //
                          "blocks.2", "-blocks.3", "-blocks.2",  //
                          "blocks.0", "-blocks.1", "-blocks.0", "-stem"));
  EXPECT_THAT(Visits(options_of(Head::forecast, 5, 3)).names(),
              ElementsAre("stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4",
                          "norm", "-norm",                       //
                          "blocks.3", "-blocks.4", "-blocks.3",  //
                          "blocks.0", "blocks.1", "-blocks.2", "-blocks.1", "-blocks.0", "-stem"));
}

TEST(RecomputeUnits, AreVisitedAgainInTheDecoder) {
  EXPECT_THAT(Visits(options_of(Head::mae, 3, 7)).names(),
              ElementsAre("stem", "blocks.0", "blocks.1", "blocks.2", "norm",  //
                          "decoder_blocks.0", "decoder_blocks.1", "decoder_blocks.2",
                          "decoder_norm", "-decoder_norm",  //
                          "decoder_blocks.0", "decoder_blocks.1", "-decoder_blocks.2",
                          "-decoder_blocks.1", "-decoder_blocks.0",  //
                          "-norm",                                   //
                          "blocks.0", "blocks.1", "-blocks.2", "-blocks.1", "-blocks.0", "-stem"));
}

TEST(RecomputeUnits, HaveTheSameGradientsInPlaceOrVisited) {
  for (const Head head : {Head::mae, Head::forecast}) {
    for (const std::int64_t depth : {0, 1, 5}) {
      const std::vector<float> kept = train(options_of(head, depth, 0)).gradients[0];
      for (const std::int64_t recompute : {0, 1, 2, 3, 7}) {
        EXPECT_EQ(Visits(options_of(head, depth, recompute)).gradients(), kept)
            << depth << " blocks, recompute " << recompute;
      }
    }
  }
}

}  // namespace
}  // namespace trib::model
