// The fused aggregations against the published forms: same parameters, same function.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/model.h"
#include "ops/base/random.h"
#include "tests/model/model_testing.h"

namespace trib::model {
namespace {

struct Shapes {
  std::int64_t channels, patch, dim, heads, batch, partitions, tree;
  bool share, mae;
};

// Something different for each number.
Shapes draw(std::uint64_t number) {
  const RandomStream random = RandomStream(31, "shapes").substream(number);
  const auto below = [&](std::uint64_t index, std::uint64_t count) {
    return static_cast<std::int64_t>(random.below(index, count));
  };
  Shapes s{};
  s.channels = 6 + below(0, 40);
  s.patch = std::int64_t{1} << below(1, 3);
  s.heads = 1 + below(2, 6);
  s.dim = 4 * s.heads * (1 + below(3, 3));
  s.batch = 1 + below(4, 3);
  s.partitions = below(5, 4);  // 0: no hierarchy
  s.tree = s.partitions == 0 ? 0 : below(6, s.channels / s.partitions > 2 ? 3 : 1);
  s.share = below(7, 2) == 0;
  s.mae = below(8, 2) == 0;
  return s;
}

class Fused : public testing::TestWithParam<std::uint64_t> {
 protected:
  std::unique_ptr<Model> model(AggregationKind kind, bool fused) const {
    InputSpec input{.channels = {}, .height = 8, .width = 12, .targets = {"a", "b"}};
    for (std::int64_t c = 0; c < shapes_.channels; ++c) {
      input.channels.push_back(fmt::format("c{}", c));
    }
    auto made =
        std::make_unique<Model>(std::move(input), Division{.partitions = shapes_.partitions});
    made->add_tokenizer({.patch = shapes_.patch, .dim = shapes_.dim});
    made->add_aggregation({.kind = kind,
                           .heads = shapes_.heads,
                           .hierarchy = shapes_.partitions > 0 ? Hierarchy::dchag : Hierarchy::none,
                           .tree = shapes_.tree,
                           .share = shapes_.share,
                           .fused = fused});
    made->add_encoder({.depth = 1, .heads = shapes_.heads, .mlp_ratio = 2});
    if (shapes_.mae) {
      made->add_mae_head({.mask_ratio = 0.5, .dim = 8, .depth = 1, .heads = 2});
    } else {
      made->add_forecast_head({.depth = 1});
    }
    return made;
  }

  const Shapes shapes_ = draw(GetParam());
};

// What the aggregation puts out, and the gradients for a given gradient by that.
struct Result {
  std::unique_ptr<Model> model;
  std::unique_ptr<Parameters> parameters;
  Tensor x;
};

Result run(std::unique_ptr<Model> model, std::int64_t batch) {
  Result result{std::move(model), nullptr, {}};
  result.parameters = std::make_unique<Parameters>(result.model->table());
  result.parameters->initialize(5);
  Tensor& values = result.parameters->flat_values();
  const RandomStream random(7, "moved");  // queries start at zero
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    values.data<float>()[i] += 0.05F * random.normal(static_cast<std::uint64_t>(i));
  }
  StepArena arena;
  Step step(test::small_batch(*result.model, batch), arena, *result.parameters, /*train=*/true);
  step.input.x_bchw.data<float>()[17] = std::nanf("");
  result.model->begin(step, 5);
  const auto& layers = result.model->layers();
  layers[0]->forward(step);
  layers[1]->forward(step);
  result.x = step.x_bnd.clone();
  step.d_x_bnd = test::normal_tensor(step.x_bnd.shape(), "d_x");
  layers[1]->backward(step, *result.parameters);
  layers[0]->backward(step, *result.parameters);
  return result;
}

double largest(const Tensor& tensor) {
  double most = 0;
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    most = std::max(most, std::abs(double{tensor.data<float>()[i]}));
  }
  return most;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double most = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    most = std::max(most, std::abs(double{a.data<float>()[i]} - b.data<float>()[i]));
  }
  return most;
}

TEST_P(Fused, GivesTheOutputAndEveryGradientOfThePublishedForm) {
  for (const AggregationKind kind : {AggregationKind::linear, AggregationKind::cross_attention}) {
    const Result published = run(model(kind, false), shapes_.batch);
    const Result fused = run(model(kind, true), shapes_.batch);
    EXPECT_LE(largest_difference(fused.x, published.x), 1e-5 * largest(published.x));
    const double all = largest(published.parameters->flat_gradients());
    for (ParameterId id = 0; id < std::ssize(published.model->table().specs()); ++id) {
      const Tensor expected = published.parameters->gradient_tensor(id);
      // Gradients that are zero but for rounding have no digits of their own.
      EXPECT_LE(largest_difference(fused.parameters->gradient_tensor(id), expected),
                1e-5 * largest(expected) + 1e-7 * all)
          << published.model->table().spec(id).name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(RandomShapes, Fused, testing::Range<std::uint64_t>(0, 24));

}  // namespace
}  // namespace trib::model
