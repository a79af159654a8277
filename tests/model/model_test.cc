// What a model promises besides its gradients: symmetries, missing data, refusals, learning.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/optimizer.h"
#include "ops/base/error.h"
#include "ops/kernels/patchify.h"
#include "tests/model/model_testing.h"

namespace trib::model {
namespace {

using test::Head;
using testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// A step that has run forward, with the arena that holds it.
struct Ran {
  Ran(const Model& model, const Parameters& parameters, const StepInput& input,
      bool training = true)
      : step(input, arena, parameters, training) {
    model.begin(step, 5);
    model.forward(step);
  }
  StepArena arena;
  Step step;
};

void expect_near(const Tensor& a, const Tensor& b, float tolerance) {
  ASSERT_EQ(a.shape(), b.shape());
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    ASSERT_NEAR(a.data<float>()[i], b.data<float>()[i], tolerance) << i;
  }
}

// Reverse the order of `parts` equal parts of a buffer.
void reverse_parts(float* values, std::int64_t parts, std::int64_t size) {
  for (std::int64_t i = 0; i < parts / 2; ++i) {
    std::swap_ranges(values + i * size, values + (i + 1) * size, values + (parts - 1 - i) * size);
  }
}

class Aggregations : public testing::TestWithParam<AggregationKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Aggregations,
                         testing::Values(AggregationKind::linear,
                                         AggregationKind::cross_attention));

TEST_P(Aggregations, DoNotCareForTheOrderOfChannels) {
  const auto model = test::small_model({.head = Head::forecast, .aggregation = GetParam()});
  Parameters parameters(model->table());
  test::fill_parameters(parameters);
  StepInput input = test::small_batch(*model, 2);
  const Ran before(*model, parameters, input);

  const auto reverse = [&](const std::string& name, std::int64_t size) {
    reverse_parts(parameters.value(model->table().find(name)), 3, size);
  };
  reverse("token_embeds.proj_weights", 16 * 16);
  reverse("token_embeds.proj_biases", 16);
  reverse("var_embed", 16);
  if (GetParam() == AggregationKind::linear) reverse("var_agg.weight", 1);
  for (std::int64_t b = 0; b < 2; ++b) {
    reverse_parts(input.x_bchw.select(0, b).data<float>(), 3, 8 * 12);
  }
  const Ran after(*model, parameters, input);
  expect_near(after.step.prediction, before.step.prediction, 2e-5F);
}

TEST(Model, TreatsSamplesIndependently) {
  for (const Head head : {Head::mae, Head::forecast}) {
    const auto model = test::small_model({.head = head, .lead_time = true});
    Parameters parameters(model->table());
    test::fill_parameters(parameters);
    const StepInput both = test::small_batch(*model, 2);
    StepInput second = both;
    second.x_bchw = both.x_bchw.slice(0, 1, 2).clone();
    second.target_bvhw = both.target_bvhw.slice(0, 1, 2).clone();
    second.lead_hours = {both.lead_hours[1]};
    second.sample_keys = {both.sample_keys[1]};
    const Ran together(*model, parameters, both), alone(*model, parameters, second);
    expect_near(alone.step.prediction, together.step.prediction.slice(0, 1, 2), 1e-5F);
  }
}

TEST(Model, PredictsTheSameWhenItIsOnlyApplied) {
  for (const Head head : {Head::mae, Head::forecast}) {
    const auto model = test::small_model({.head = head});
    Parameters parameters(model->table());
    test::fill_parameters(parameters);
    const StepInput input = test::small_batch(*model, 2);
    const Ran trained(*model, parameters, input, true), applied(*model, parameters, input, false);
    expect_near(applied.step.prediction, trained.step.prediction, 0);
    EXPECT_EQ(applied.step.loss, trained.step.loss);
  }
}

TEST(Model, AppliesAForecastWithoutTargets) {
  const auto model = test::small_model({.head = Head::forecast});
  Parameters parameters(model->table());
  test::fill_parameters(parameters);
  StepInput input = test::small_batch(*model, 2);
  const Ran with(*model, parameters, input, false);
  input.target_bvhw = {};
  const Ran without(*model, parameters, input, false);
  expect_near(without.step.prediction, with.step.prediction, 0);
  EXPECT_EQ(without.step.loss, 0);
}

TEST(MaeHead, SeesNothingOfMaskedPatches) {
  const auto model = test::small_model({});
  Parameters parameters(model->table());
  test::fill_parameters(parameters);
  StepInput input = test::small_batch(*model, 1);
  const Ran before(*model, parameters, input);
  // Change every pixel of the masked patches (4 x 4 on a grid of 2 x 3).
  const auto& visible = before.step.masking.visible;
  for (std::int64_t i = 0; i < input.x_bchw.numel(); ++i) {
    const std::int64_t y = i / 12 % 8, x = i % 12;
    const auto token = static_cast<std::int32_t>(y / 4 * 3 + x / 4);
    if (std::find(visible.begin(), visible.end(), token) == visible.end()) {
      input.x_bchw.data<float>()[i] += 10;
    }
  }
  const Ran after(*model, parameters, input);
  expect_near(after.step.prediction, before.step.prediction, 0);
  EXPECT_GT(std::abs(after.step.loss - before.step.loss), 1);
}

TEST(MaeHead, LossCountsFinitePixelsOfMaskedPatches) {
  const auto model = test::small_model({});
  Parameters parameters(model->table());
  test::fill_parameters(parameters);
  StepInput input = test::small_batch(*model, 2);
  // Holes all over, in visible patches and masked ones.
  float* x = input.x_bchw.data<float>();
  for (std::int64_t i = 0; i < input.x_bchw.numel(); i += 7) x[i] = kNaN;
  Ran ran(*model, parameters, input);

  const std::int64_t rows = 2 * 6, pixels = 16 * 3;
  std::vector<float> target(static_cast<std::size_t>(rows * pixels));
  ops::patchify(target.data(), x, 2, 3, 8, 12, 4);
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < rows * pixels; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const bool masked = ran.step.masking.ids_restore[k / static_cast<std::size_t>(pixels)] >= 3;
    if (!masked || std::isnan(target[k])) continue;
    sum += std::pow(static_cast<double>(ran.step.prediction.data<float>()[i]) - target[k], 2);
    ++count;
  }
  EXPECT_NEAR(ran.step.loss, sum / static_cast<double>(count), 1e-6 * ran.step.loss);

  model->backward(ran.step, parameters);
  EXPECT_TRUE(std::isfinite(gradient_norm(parameters)));
  EXPECT_GT(gradient_norm(parameters), 0);
}

TEST(MaeHead, HasNoLossWithoutData) {
  const auto model = test::small_model({});
  Parameters parameters(model->table());
  test::fill_parameters(parameters);
  StepInput input = test::small_batch(*model, 1);
  std::fill_n(input.x_bchw.data<float>(), input.x_bchw.numel(), kNaN);
  Ran ran(*model, parameters, input);
  EXPECT_EQ(ran.step.loss, 0);
  model->backward(ran.step, parameters);
  EXPECT_EQ(gradient_norm(parameters), 0);
}

TEST(MaeHead, LeavesPatchesWithHolesOutWhenItNormalizesThem) {
  const auto model = test::small_model({.norm_pix = true});
  Parameters parameters(model->table());
  test::fill_parameters(parameters);
  StepInput input = test::small_batch(*model, 1);
  const Ran whole(*model, parameters, input);
  const auto& restore = whole.step.masking.ids_restore;
  const auto token = std::find(restore.begin(), restore.end(), 3) - restore.begin();  // masked

  // What the loss was made of, patch by patch, from the same prediction.
  const auto loss_without = [&](std::int64_t left_out) {
    std::vector<float> target(6 * 48);
    ops::patchify(target.data(), input.x_bchw.data<float>(), 1, 3, 8, 12, 4);
    double sum = 0;
    int patches = 0;
    for (std::int64_t n = 0; n < 6; ++n) {
      if (restore[static_cast<std::size_t>(n)] < 3 || n == left_out) continue;
      const float* t = target.data() + n * 48;
      const double mean = std::accumulate(t, t + 48, 0.0) / 48;
      double variance = 0;
      for (int i = 0; i < 48; ++i) variance += (t[i] - mean) * (t[i] - mean) / 47;
      for (int i = 0; i < 48; ++i) {
        const double normalized = (t[i] - mean) / std::sqrt(variance + 1e-6);
        const double predicted = whole.step.prediction.data<float>()[n * 48 + i];
        sum += (predicted - normalized) * (predicted - normalized) / 48;
      }
      ++patches;
    }
    return sum / patches;
  };
  EXPECT_NEAR(whole.step.loss, loss_without(-1), 1e-5);
  const double expected = loss_without(token);
  input.x_bchw.data<float>()[token / 3 * 4 * 12 + token % 3 * 4] = kNaN;
  const Ran holed(*model, parameters, input);
  EXPECT_NEAR(holed.step.loss, expected, 1e-5);
}

TEST(ForecastHead, StartsAtPersistenceWhenItPredictsTheChange) {
  const auto model = test::small_model({.head = Head::forecast, .residual = true});
  Parameters parameters(model->table());
  parameters.initialize(1);
  Tensor last = parameters.value_tensor(model->table().find("head.2.weight"));
  std::fill_n(last.data<float>(), last.numel(), 0.0F);
  const StepInput input = test::small_batch(*model, 2);
  const Ran ran(*model, parameters, input);
  // Variables t2m and u10 are input channels 0 and 1.
  const Tensor first_two = input.x_bchw.slice(1, 0, 2).contiguous();
  expect_near(ran.step.prediction_bvhw, first_two, 0);
}

TEST(Model, InitialModelsCarryTheSignal) {
  // What an untrained encoder makes must depend on its input, not only on positions.
  for (const auto kind : {AggregationKind::linear, AggregationKind::cross_attention}) {
    const auto model = test::small_model({.head = Head::forecast, .aggregation = kind});
    Parameters parameters(model->table());
    parameters.initialize(2);
    StepInput input = test::small_batch(*model, 1);
    const Ran one(*model, parameters, input);
    test::fill_normal(input.x_bchw, "another x");
    const Ran other(*model, parameters, input);
    double difference = 0, size = 0;
    for (std::int64_t i = 0; i < one.step.x_bnd.numel(); ++i) {
      const double a = one.step.x_bnd.data<float>()[i], b = other.step.x_bnd.data<float>()[i];
      difference += (a - b) * (a - b);
      size += a * a;
    }
    EXPECT_GT(difference / size, 0.05);
  }
}

class Learning : public testing::TestWithParam<test::SmallModelOptions> {};

TEST_P(Learning, OverfitsAFixedBatch) {
  const auto model = test::small_model(GetParam());
  Parameters parameters(model->table());
  parameters.initialize(1);
  AdamW adamw(ShardLayout(model->table()), {.weight_decay = 0});
  const StepInput input = test::small_batch(*model, 2);
  const CosineSchedule schedule{.lr = 1e-2, .warmup_steps = 10, .total_steps = 300};
  StepArena arena;
  double first = 0, last = 0;
  for (std::int64_t i = 0; i < schedule.total_steps; ++i) {
    arena.reset();
    parameters.zero_gradients();
    Step step(input, arena, parameters, /*train=*/true);
    model->begin(step, 5);
    model->forward(step);
    model->backward(step, parameters);
    adamw.step(parameters, schedule.at(i));
    if (i == 0) first = step.loss;
    last = step.loss;
  }
  EXPECT_LT(last, first / 10) << "from " << first;
  EXPECT_EQ(static_cast<std::int64_t>(arena.capacity()),
            std::max<std::int64_t>(1 << 20, model->arena_bytes(2, true)));
}

INSTANTIATE_TEST_SUITE_P(
    Models, Learning,
    testing::Values(test::SmallModelOptions{.dim = 32},
                    test::SmallModelOptions{.aggregation = AggregationKind::linear, .dim = 32},
                    test::SmallModelOptions{.head = Head::forecast, .lead_time = true},
                    test::SmallModelOptions{.head = Head::forecast,
                                            .aggregation = AggregationKind::linear}));

template <class Function>
std::string config_error_of(const Function& function) {
  try {
    function();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no ConfigError";
}

TEST(Model, RefusesWhatCannotBe) {
  const InputSpec input{.channels = {"B02", "B03"}, .height = 8, .width = 12};
  const auto up_to_encoder = [](Model& model) {
    model.add_tokenizer({.patch = 4, .dim = 12});
    model.add_aggregation({.heads = 3});
    model.add_encoder({.depth = 1, .heads = 3});
  };
  EXPECT_THAT(config_error_of([&] { Model(InputSpec{}); }), HasSubstr("number of channels is 0"));
  EXPECT_THAT(config_error_of([&] { Model(input).add_encoder({}); }), HasSubstr("order"));
  EXPECT_THAT(config_error_of([&] { Model(input).add_tokenizer({.patch = 5, .dim = 8}); }),
              HasSubstr("patch 5 does not divide the image of 8 x 12"));
  EXPECT_THAT(config_error_of([&] { Model(input).add_tokenizer({.patch = 4, .dim = 6}); }),
              HasSubstr("dim 6 is not a multiple of 4"));
  EXPECT_THAT(config_error_of([&] {
                Model model(input);
                model.add_tokenizer({.patch = 4, .dim = 12});
                model.add_aggregation({.heads = 5});
              }),
              HasSubstr("5 heads do not divide dim 12"));
  for (const double rate : {1.0, -0.1, std::numeric_limits<double>::quiet_NaN()}) {
    const auto encoder_error = [&](const EncoderOptions& options) {
      return config_error_of([&] {
        Model model(input);
        model.add_tokenizer({.patch = 4, .dim = 12});
        model.add_aggregation({.heads = 3});
        model.add_encoder(options);
      });
    };
    EXPECT_THAT(encoder_error({.heads = 3, .drop_rate = rate}), HasSubstr("encoder: drop_rate is"));
    EXPECT_THAT(encoder_error({.heads = 3, .drop_path_rate = rate}),
                HasSubstr("encoder: drop_path_rate is"));
  }
  EXPECT_THAT(config_error_of([&] {
                Model model(input);
                up_to_encoder(model);
                model.add_mae_head({.mask_ratio = 0.9, .dim = 8, .heads = 2});
              }),
              HasSubstr("mask_ratio 0.9 leaves 0 of 6 tokens"));
  EXPECT_THAT(config_error_of([&] {
                Model model(input);
                up_to_encoder(model);
                model.add_forecast_head({});
              }),
              HasSubstr("no target variables"));
  EXPECT_THAT(config_error_of([&] {
                InputSpec with_target = input;
                with_target.targets = {"t2m"};
                Model model(with_target);
                up_to_encoder(model);
                model.add_forecast_head({.residual = true});
              }),
              HasSubstr("residual needs t2m among the input channels B02, B03"));
}

TEST(Model, ChecksItsInput) {
  const auto model = test::small_model({.lead_time = true});
  const Parameters parameters(model->table());
  StepArena arena;
  const auto begin = [&](const StepInput& input) {
    Step step(input, arena, parameters, /*train=*/true);
    model->begin(step, 1);
  };
  StepInput input = test::small_batch(*model, 2);
  begin(input);
  input.sample_keys.pop_back();
  EXPECT_THROW(begin(input), ShapeError);
  input = test::small_batch(*model, 2);
  input.lead_hours.clear();
  EXPECT_THROW(begin(input), ShapeError);
  input = test::small_batch(*model, 2);
  input.x_bchw = Tensor::zeros({2, 4, 8, 12});
  EXPECT_THROW(begin(input), ShapeError);
}

}  // namespace
}  // namespace trib::model
