// Dropout and stochastic depth in the encoder: whose masks, at what rates, and when not.
#include "model/dropout.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/transformer.h"
#include "ops/base/error.h"
#include "tests/model/model_testing.h"

namespace trib::model {
namespace {

using test::Head;
using test::SmallModelOptions;

// A training step that has run forward and backward, on parameters of its own.
struct Trained {
  Trained(const Model& model, StepInput input, std::uint64_t seed = 5)
      : parameters(model.table()), step(std::move(input), arena, parameters, /*train=*/true) {
    test::fill_parameters(parameters);
    model.begin(step, seed);
    model.forward(step);
    model.backward(step, parameters);
  }
  Parameters parameters;
  StepArena arena;
  Step step;
};

std::vector<float> values(const Tensor& tensor) {
  return {tensor.data<float>(), tensor.data<float>() + tensor.numel()};
}

void expect_near(const Tensor& a, const Tensor& b, float tolerance) {
  ASSERT_EQ(a.shape(), b.shape());
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    ASSERT_NEAR(a.data<float>()[i], b.data<float>()[i], tolerance) << i;
  }
}

SmallModelOptions dropping(Head head) {
  return {.head = head, .depth = 3, .drop_rate = 0.3, .drop_path_rate = 0.4};
}

// Samples `order` of a batch.
StepInput choose(const StepInput& from, const std::vector<std::int64_t>& order) {
  StepInput chosen;
  const auto rows_of = [&](const Tensor& tensor) {
    Shape shape = tensor.shape();
    shape[0] = std::ssize(order);
    Tensor made = Tensor::empty(shape);
    const std::int64_t size = tensor.numel() / tensor.dim(0);
    float* to = made.data<float>();
    for (const std::int64_t b : order) {
      to = std::copy_n(tensor.data<float>() + b * size, size, to);
    }
    return made;
  };
  chosen.x_bchw = rows_of(from.x_bchw);
  chosen.target_bvhw = rows_of(from.target_bvhw);
  for (const std::int64_t b : order) {
    chosen.lead_hours.push_back(from.lead_hours[static_cast<std::size_t>(b)]);
    chosen.sample_keys.push_back(from.sample_keys[static_cast<std::size_t>(b)]);
  }
  return chosen;
}

class DropoutHeads : public testing::TestWithParam<Head> {};
INSTANTIATE_TEST_SUITE_P(Heads, DropoutHeads, testing::Values(Head::mae, Head::forecast));

TEST_P(DropoutHeads, SamplesThatChangePlacesKeepTheirMasks) {
  const auto model = test::small_model(dropping(GetParam()));
  const StepInput input = test::small_batch(*model, 2);
  const Trained there(*model, input), back(*model, choose(input, {1, 0}));
  for (std::int64_t b = 0; b < 2; ++b) {
    expect_near(back.step.prediction.slice(0, 1 - b, 2 - b),
                there.step.prediction.slice(0, b, b + 1), 1e-5F);
  }
  // Two samples alike but for their keys have different masks.
  StepInput alike = choose(input, {0, 0});
  alike.sample_keys = input.sample_keys;
  alike.lead_hours = {24, 24};
  const Trained other(*model, alike);
  EXPECT_NE(values(other.step.prediction.slice(0, 0, 1)),
            values(other.step.prediction.slice(0, 1, 2)));
}

TEST_P(DropoutHeads, ABatchDividedOverRanksKeepsItsMasks) {
  const auto model = test::small_model(dropping(GetParam()));
  const StepInput input = test::small_batch(*model, 4);
  const Trained whole(*model, input);
  const Trained low(*model, choose(input, {0, 1})), high(*model, choose(input, {2, 3}));
  expect_near(low.step.prediction, whole.step.prediction.slice(0, 0, 2), 1e-5F);
  expect_near(high.step.prediction, whole.step.prediction.slice(0, 2, 4), 1e-5F);
}

TEST_P(DropoutHeads, StepsThatDoNotTrainDropNothing) {
  const auto with = test::small_model(dropping(GetParam()));
  SmallModelOptions plain = dropping(GetParam());
  plain.drop_rate = plain.drop_path_rate = 0;
  const auto without = test::small_model(plain);
  const StepInput input = test::small_batch(*with, 3);
  Parameters parameters(with->table()), same(without->table());
  test::fill_parameters(parameters);
  test::fill_parameters(same);
  const double applied = test::loss_of(*with, parameters, input);
  EXPECT_EQ(applied, test::loss_of(*without, same, input));
  EXPECT_NE(applied, test::loss_of(*with, parameters, input, /*training=*/true));
  EXPECT_EQ(applied, test::loss_of(*without, same, input, /*training=*/true));
}

TEST_P(DropoutHeads, SeedAndKeysAreAllThatDecides) {
  const auto model = test::small_model(dropping(GetParam()));
  StepInput input = test::small_batch(*model, 2);
  const Trained one(*model, input), again(*model, input), other(*model, input, /*seed=*/6);
  EXPECT_EQ(values(one.step.prediction), values(again.step.prediction));
  EXPECT_EQ(values(one.parameters.flat_gradients()), values(again.parameters.flat_gradients()));
  EXPECT_NE(values(one.step.prediction), values(other.step.prediction));
}

TEST(Dropout, NeedsSampleKeysWhereItDrops) {
  const auto model = test::small_model({.head = Head::forecast, .drop_path_rate = 0.1});
  const Parameters parameters(model->table());
  StepInput input = test::small_batch(*model, 2);
  input.sample_keys.clear();
  StepArena arena;
  Step training(input, arena, parameters, /*train=*/true);
  EXPECT_THROW(model->begin(training, 1), ShapeError);
  Step applied(input, arena, parameters, /*train=*/false);
  model->begin(applied, 1);
}

TEST(Dropout, WithoutKeysOrRatesGivesItsInput) {
  const std::vector<std::uint64_t> samples{1, 2};
  const DropKeys keys{.seed = 3, .sample_keys = samples};
  const std::vector<float> x(8, 1.0F);
  EXPECT_EQ(Dropout("a", 0.5).apply(nullptr, nullptr, x.data(), {0, 4}, 2, 2), x.data());
  EXPECT_EQ(Dropout("a", 0).apply(&keys, nullptr, x.data(), {0, 4}, 2, 2), x.data());
}

TEST(Dropout, PlacesHaveMasksOfTheirOwn) {
  constexpr std::int64_t kDim = 64;
  const std::vector<std::uint64_t> samples{1};
  const DropKeys keys{.seed = 3, .sample_keys = samples};
  const std::vector<float> x(kDim, 1.0F);
  const auto at = [&](const std::string& place) {
    std::vector<float> y(kDim);
    Dropout(place, 0.5).apply(&keys, y.data(), x.data(), {0, 1}, 1, kDim);
    return y;
  };
  EXPECT_EQ(at("blocks.0.attn"), at("blocks.0.attn"));
  EXPECT_NE(at("blocks.0.attn"), at("blocks.0.mlp"));
  EXPECT_NE(at("blocks.0.attn"), at("blocks.1.attn"));
}

// Blocks whose attention adds 1, 10, 100 and whose MLP adds nothing: the tokens before the last
// norm tell which blocks a sample went through.
TEST(StochasticDepth, RisesLinearlyOverTheBlocks) {
  constexpr std::int64_t kBatch = 2000, kTokens = 2, kDim = 4;
  ParameterTable table;
  const TensorGroup alone;
  const Transformer transformer(
      table, "", {.dim = kDim, .depth = 3, .heads = 1, .mlp_ratio = 1, .drop_path_rate = 0.8},
      alone);
  Parameters parameters(table);
  parameters.initialize(1);
  const auto fill = [&](const std::string& name, float value) {
    const Tensor tensor = parameters.value_tensor(table.find(name));
    std::fill_n(parameters.value(table.find(name)), tensor.numel(), value);
  };
  for (std::int64_t i = 0; i < 3; ++i) {
    const std::string block = "blocks." + std::to_string(i);
    fill(block + ".attn.proj.weight", 0);
    fill(block + ".attn.proj.bias", std::pow(10.0F, static_cast<float>(i)));
    fill(block + ".mlp.fc2.weight", 0);
  }
  std::vector<std::uint64_t> samples(kBatch);
  std::iota(samples.begin(), samples.end(), 0U);
  const DropKeys keys{.seed = 3, .sample_keys = samples};
  Tensor x = Tensor::zeros({kBatch, kTokens, kDim}), out = Tensor::empty(x.shape());
  StepArena arena;
  Transformer::Saved saved;
  transformer.forward(parameters, arena, saved, out.data<float>(), x.data<float>(), kBatch, kTokens,
                      /*training=*/true, &keys);
  int second = 0, third = 0;
  for (std::int64_t b = 0; b < kBatch; ++b) {
    const float* of_sample = x.data<float>() + b * kTokens * kDim;
    for (std::int64_t i = 0; i < kTokens * kDim; ++i) ASSERT_EQ(of_sample[i], of_sample[0]) << b;
    const bool has_third = of_sample[0] > 100;
    const float rest = of_sample[0] - (has_third ? 100 / 0.2F : 0);
    const bool has_second = rest > 10;
    ASSERT_NEAR(rest, has_second ? 1 + 10 / 0.6F : 1, 1e-3) << b;
    second += has_second ? 1 : 0;
    third += has_third ? 1 : 0;
  }
  EXPECT_NEAR(second, 0.6 * kBatch, 5 * std::sqrt(0.24 * kBatch));
  EXPECT_NEAR(third, 0.2 * kBatch, 5 * std::sqrt(0.16 * kBatch));
}

}  // namespace
}  // namespace trib::model
