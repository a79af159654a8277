// A model divided over the tensor axis against the same model on one rank, which every rank
// computes for itself: losses over steps, gradients put together, ledgers.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/model.h"
#include "model/optimizer.h"
#include "model/parallel/assemble.h"
#include "model/parallel/gradients.h"
#include "ops/base/random.h"
#include "tests/support/mpi_test.h"

namespace trib::model {
namespace {

constexpr std::uint64_t kSeed = 17;

struct Case {
  std::string name;
  bool mae = true;
  bool distributed = true;
  std::int64_t partitions = 0;
  AggregationOptions aggregation = {};
  bool sequence_parallel = false;
  bool norm_pix = false;
  bool residual = false;
  std::int64_t channels = 21;
  std::int64_t batch = 2;
  double drop_rate = 0;
  double drop_path_rate = 0;
  std::int64_t recompute = 0;  // of encoder and decoder
  Precision precision = Precision::fp32;

  /// How far apart sums in another order may lie, relatively.
  double tolerance() const { return precision == Precision::bf16 ? 5e-3 : 1e-5; }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

InputSpec input_of(const Case& c) {
  InputSpec input{.channels = {}, .height = 8, .width = 12};
  for (std::int64_t i = 0; i < c.channels; ++i) input.channels.push_back(fmt::format("c{}", i));
  // Targets among the channels in another order, and others.
  input.targets = c.residual ? std::vector<std::string>{"c7", "c3", "c20"}
                             : std::vector<std::string>{"c7", "other", "c3", "c20", "further"};
  input.latitudes = {-70, -50, -30, -10, 10, 30, 50, 70};
  return input;
}

std::unique_ptr<Model> make_model(const Case& c, const Division& division) {
  auto made = std::make_unique<Model>(input_of(c), division, c.precision);
  made->add_tokenizer({.patch = 4, .dim = 32});
  made->add_aggregation(c.aggregation);
  made->add_encoder({.depth = 2,
                     .heads = 8,
                     .mlp_ratio = 2,
                     .lead_time = !c.mae,
                     .sequence_parallel = c.sequence_parallel,
                     .drop_rate = c.drop_rate,
                     .drop_path_rate = c.drop_path_rate,
                     .recompute = c.recompute});
  if (c.mae) {
    made->add_mae_head({.mask_ratio = 0.5,
                        .dim = 16,
                        .depth = 1,
                        .heads = 4,
                        .norm_pix = c.norm_pix,
                        .recompute = c.recompute});
  } else {
    made->add_forecast_head({.depth = c.residual ? 3 : 2, .residual = c.residual});
  }
  return made;
}

// The whole batch; a rank takes its part.
Tensor images(const std::string& stream, std::int64_t batch, std::int64_t channels, bool gaps) {
  Tensor x = Tensor::empty({batch, channels, 8, 12});
  const RandomStream random(3, stream);
  float* values = x.data<float>();
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    const bool is_missing = gaps && random.substream(1).uniform(at) < 0.01F;
    values[i] = is_missing ? std::nanf("") : random.normal(at);
  }
  return x;
}

Tensor part_of(const Tensor& whole, const std::vector<std::int64_t>& positions) {
  const std::int64_t batch = whole.dim(0), pixels = 8 * 12;
  Tensor part = Tensor::empty({batch, std::ssize(positions), 8, 12});
  float* to = part.data<float>();
  for (std::int64_t b = 0; b < batch; ++b) {
    for (const std::int64_t position : positions) {
      const float* from = whole.data<float>() + (b * whole.dim(1) + position) * pixels;
      to = std::copy_n(from, pixels, to);
    }
  }
  return part;
}

// A model in training, on all ranks or on this one alone.
class Training {
 public:
  Training(const Case& c, const Division& division)
      : case_(c),
        model_(make_model(c, division)),
        parameters_(model_->table()),
        optimizer_(ShardLayout(model_->table()), {}) {
    if (division.ranks > 1) model_->connect(test::communicator());
    parameters_.initialize(kSeed);
    // Queries start at zero, where attention has no gradient by its keys: move all values.
    for (ParameterId id = 0; id < std::ssize(model_->table().specs()); ++id) {
      const ParameterSpec& spec = model_->table().spec(id);
      const RandomStream random(kSeed, "moved." + spec.name);
      float* value = parameters_.value(id);
      for_each_run(
          spec.shape, spec.split, [&](std::int64_t local, std::int64_t global, std::int64_t count) {
            for (std::int64_t i = 0; i < count; ++i) {
              value[local + i] += 0.05F * random.normal(static_cast<std::uint64_t>(global + i));
            }
          });
    }
  }

  double step(std::int64_t number) {
    ops::Communicator& communicator = test::communicator();
    const std::int64_t all = std::ssize(model_->input().channels);
    std::vector<std::int64_t> own;
    for (std::int64_t c = model_->own_channels().begin; c < model_->own_channels().end; ++c) {
      own.push_back(c);
    }
    const std::string stream = std::to_string(number);
    StepInput input;
    input.x_bchw = part_of(images("x" + stream, case_.batch, all, !case_.norm_pix), own);
    input.target_bvhw =
        part_of(images("y" + stream, case_.batch, std::ssize(model_->input().targets), true),
                model_->own_targets());
    for (std::int64_t b = 0; b < case_.batch; ++b) {
      input.lead_hours.push_back(static_cast<float>(6 * (b + 1)));
      input.sample_keys.push_back(static_cast<std::uint64_t>(number * case_.batch + b));
    }
    arena_.reset();
    parameters_.zero_gradients();
    Step step(std::move(input), arena_, parameters_, /*train=*/true);
    communicator.enter(ops::Phase::forward);
    model_->begin(step, kSeed);
    model_->forward(step);
    communicator.enter(ops::Phase::backward);
    model_->backward(step, parameters_);
    communicator.enter(ops::Phase::setup);
    reduce_partial_gradients(parameters_, model_->group());
    norm_ = whole_norm();
    return step.loss;
  }

  // Of the gradients of the whole model: what ranks hold alike counts once.
  double whole_norm() const {
    double split = 0, replicated = 0;
    for (ParameterId id = 0; id < std::ssize(model_->table().specs()); ++id) {
      const ParameterSpec& spec = model_->table().spec(id);
      double& squares = spec.split.active() ? split : replicated;
      for (const float g :
           std::span(parameters_.gradient(id), static_cast<std::size_t>(spec.local().numel()))) {
        squares += double{g} * g;
      }
    }
    model_->group().all_reduce(std::span<double>(&split, 1));
    return std::sqrt(split + replicated);
  }

  void update() { optimizer_.step(parameters_, 1e-3); }

  Tensor gradient(ParameterId id) const {
    const ParameterSpec& spec = model_->table().spec(id);
    return assemble(parameters_.gradient_tensor(id),
                    spec.split.active() ? spec.shape[spec.split.axis] : 0, spec.split,
                    model_->group());
  }
  // What all ranks hold must stay the same without being sent: to the bit, or they drift apart.
  void expect_replicas_agree() const {
    for (const ParameterSpec& spec : model_->table().specs()) {
      if (spec.split.active()) continue;
      const Tensor own = parameters_.value_tensor(model_->table().find(spec.name));
      Tensor first = own.clone();
      test::communicator()
          .broadcast(ops::MeshAxis::tensor, {first.bytes(), first.nbytes()}, 0)
          .wait();
      EXPECT_EQ(std::memcmp(own.bytes(), first.bytes(), own.nbytes()), 0) << spec.name;
    }
  }
  double norm() const { return norm_; }
  const Model& model() const { return *model_; }
  const StepArena& arena() const { return arena_; }

 private:
  const Case& case_;
  std::unique_ptr<Model> model_;
  Parameters parameters_;
  AdamW optimizer_;
  StepArena arena_;
  double norm_ = 0;
};

Division here(const Case& c) {
  const ops::Communicator& communicator = test::communicator();
  return {.ranks = communicator.size(ops::MeshAxis::tensor),
          .rank = communicator.rank(ops::MeshAxis::tensor),
          .distributed = c.distributed,
          .partitions = c.partitions};
}

// The same function on one rank has the partitions that the division has.
Division alone(const Case& c) {
  return {.distributed = c.distributed, .partitions = here(c).num_partitions()};
}

class ModelParallel : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    ops::Communicator& communicator = test::communicator();
    if (communicator.mesh().size() != communicator.size()) {
      communicator.split({.tensor = communicator.size()});
      communicator.set_check_order(true);
    }
  }
};

TEST_P(ModelParallel, GradientsAreThoseOfOneRank) {
  const Case& c = GetParam();
  Training divided(c, here(c)), whole(c, alone(c));
  const double loss = divided.step(0), expected = whole.step(0);
  EXPECT_NEAR(loss, expected, c.tolerance() * std::abs(expected));
  EXPECT_NEAR(divided.norm(), whole.norm(), c.tolerance() * whole.norm());
  EXPECT_EQ(divided.model().table().count(), whole.model().table().count());

  const auto& specs = whole.model().table().specs();
  ASSERT_EQ(divided.model().table().specs().size(), specs.size());
  for (ParameterId id = 0; id < std::ssize(specs); ++id) {
    ASSERT_EQ(divided.model().table().spec(id).name, whole.model().table().spec(id).name);
    const Tensor a = divided.gradient(id), b = whole.gradient(id);
    ASSERT_EQ(a.shape(), b.shape());
    double largest = 0;
    for (std::int64_t i = 0; i < b.numel(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(b.data<float>()[i])));
    }
    double worst = 0;
    for (std::int64_t i = 0; i < b.numel(); ++i) {
      worst =
          std::max(worst, std::abs(static_cast<double>(a.data<float>()[i]) - b.data<float>()[i]));
    }
    // Some are zero but for rounding: a norm follows the bias, a softmax of one follows the query.
    EXPECT_LE(worst, 10 * c.tolerance() * largest + 1e-2 * c.tolerance() * whole.norm())
        << whole.model().table().spec(id).name;
  }
}

TEST_P(ModelParallel, LossesOfTwentyStepsAreThoseOfOneRank) {
  const Case& c = GetParam();
  Training divided(c, here(c)), whole(c, alone(c));
  for (std::int64_t number = 0; number < 20; ++number) {
    const double loss = divided.step(number), expected = whole.step(number);
    ASSERT_NEAR(loss, expected, c.tolerance() * std::abs(expected)) << "step " << number;
    divided.update();
    whole.update();
  }
  divided.expect_replicas_agree();
}

TEST_P(ModelParallel, MemoryIsAsPredicted) {
  const Case& c = GetParam();
  Training divided(c, here(c));
  divided.step(0);
  EXPECT_LE(static_cast<std::int64_t>(divided.arena().peak()),
            divided.model().arena_bytes(c.batch, /*training=*/true));
  EXPECT_GE(static_cast<double>(divided.arena().peak()),
            0.97 * static_cast<double>(divided.model().arena_bytes(c.batch, /*training=*/true)));
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto kinds = {AggregationKind::linear, AggregationKind::cross_attention};
  for (const bool mae : {true, false}) {
    for (const AggregationKind kind : kinds) {
      for (const bool fused : {true, false}) {
        const std::string name =
            fmt::format("{}_{}_{}", mae ? "mae" : "forecast",
                        kind == AggregationKind::linear ? "linear" : "cross_attention",
                        fused ? "fused" : "published");
        const AggregationOptions flat{.kind = kind, .heads = 8, .fused = fused};
        all.push_back(
            {.name = name + "_replicated", .mae = mae, .distributed = false, .aggregation = flat});
        all.push_back({.name = name + "_distributed", .mae = mae, .aggregation = flat});
        for (const std::int64_t tree : {0, 2}) {
          for (const bool share : {true, false}) {
            if (tree == 0 && !share) continue;
            AggregationOptions dchag = flat;
            dchag.hierarchy = Hierarchy::dchag;
            dchag.tree = tree;
            dchag.share = share;
            all.push_back(
                {.name = fmt::format("{}_dchag_tree{}{}", name, tree, share ? "" : "_unshared"),
                 .mae = mae,
                 .partitions = 8,
                 .aggregation = dchag});
          }
        }
      }
    }
  }
  const AggregationOptions dchag{.heads = 8, .hierarchy = Hierarchy::dchag};
  all.push_back({.name = "default_partitions", .aggregation = dchag, .batch = 3});
  all.push_back({.name = "sequence_parallel", .aggregation = dchag, .sequence_parallel = true});
  all.push_back({.name = "sequence_parallel_forecast",
                 .mae = false,
                 .aggregation = {.heads = 8},
                 .sequence_parallel = true});
  all.push_back({.name = "norm_pix", .aggregation = {.heads = 8}, .norm_pix = true});
  all.push_back({.name = "norm_pix_replicated",
                 .distributed = false,
                 .aggregation = {.heads = 8},
                 .norm_pix = true});
  all.push_back({.name = "residual", .mae = false, .aggregation = {.heads = 8}, .residual = true});
  all.push_back({.name = "few_heads", .aggregation = {.heads = 2}, .channels = 22});
  all.push_back({.name = "recompute_sequence_parallel",
                 .aggregation = dchag,
                 .sequence_parallel = true,
                 .batch = 3,
                 .recompute = 1});
  all.push_back({.name = "bf16", .aggregation = dchag, .precision = Precision::bf16});
  all.push_back({.name = "bf16_forecast_sequence_parallel",
                 .mae = false,
                 .aggregation = dchag,
                 .sequence_parallel = true,
                 .precision = Precision::bf16});
  all.push_back({.name = "bf16_recompute_dropout_sequence_parallel",
                 .aggregation = dchag,
                 .sequence_parallel = true,
                 .drop_rate = 0.1,
                 .recompute = 1,
                 .precision = Precision::bf16});
  all.push_back({.name = "recompute_dropout",
                 .aggregation = dchag,
                 .drop_rate = 0.3,
                 .drop_path_rate = 0.4,
                 .recompute = 2});
  all.push_back({.name = "recompute_dropout_sequence_parallel",
                 .mae = false,
                 .aggregation = dchag,
                 .sequence_parallel = true,
                 .batch = 5,
                 .drop_rate = 0.3,
                 .drop_path_rate = 0.4,
                 .recompute = 2});
  for (const bool mae : {true, false}) {
    for (const bool sequence_parallel : {false, true}) {
      Case c{.name = fmt::format("dropout_{}{}", mae ? "mae" : "forecast",
                                 sequence_parallel ? "_sequence_parallel" : ""),
             .mae = mae,
             .aggregation = dchag,
             .sequence_parallel = sequence_parallel,
             .batch = 5,
             .drop_rate = 0.3,
             .drop_path_rate = 0.4};
      all.push_back(c);
      c.name += "_replicated";
      c.distributed = false;
      c.aggregation = {.heads = 8};
      all.push_back(c);
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Modes, ModelParallel, testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

// --- what is sent --------------------------------------------------------------------------------

class Traffic : public ModelParallel {
 protected:
  // Bytes this rank hands in during a step, by collective and phase.
  static ops::TrafficLedger::Snapshot of_step(const Case& c) {
    Training training(c, here(c));
    const auto before = test::communicator().traffic().snapshot();
    training.step(0);
    auto after = test::communicator().traffic().snapshot();
    for (std::size_t k = 0; k < ops::kCollectives; ++k) {
      for (std::size_t a = 0; a < ops::kMeshAxes; ++a) {
        for (std::size_t p = 0; p < ops::kPhases; ++p) {
          after[k][a][p].calls -= before[k][a][p].calls;
          after[k][a][p].bytes -= before[k][a][p].bytes;
        }
      }
    }
    return after;
  }
  static ops::Traffic at(const ops::TrafficLedger::Snapshot& all, ops::Collective collective,
                         ops::Phase phase) {
    return all[static_cast<std::size_t>(collective)]
              [static_cast<std::size_t>(ops::MeshAxis::tensor)][static_cast<std::size_t>(phase)];
  }
};

TEST_F(Traffic, DchagAddsOneGatherForwardAndNothingBackward) {
  const int ranks = test::communicator().size();
  if (ranks == 1) GTEST_SKIP() << "one rank sends nothing";
  using ops::Collective, ops::Phase;
  for (const AggregationKind kind : {AggregationKind::linear, AggregationKind::cross_attention}) {
    for (const bool fused : {true, false}) {
      Case c{.name = "dchag", .mae = false};
      c.aggregation = {.kind = kind, .heads = 8, .hierarchy = Hierarchy::dchag, .fused = fused};
      const auto traffic = of_step(c);
      const std::int64_t tokens = c.batch * 6 * 32 * 4;  // bytes of [B, N, D]
      const ops::Traffic gather = at(traffic, Collective::all_gather, Phase::forward);
      EXPECT_EQ(gather.calls, 1);
      EXPECT_EQ(gather.bytes, tokens);
      EXPECT_EQ(at(traffic, Collective::all_gather, Phase::backward).calls, 0);
      EXPECT_EQ(at(traffic, Collective::reduce_scatter, Phase::backward).calls, 0);
      // g of the final attention, two of each block, one of the head's hidden pair; the loss
      // of each sample: its errors, its finite pixels.
      const ops::Traffic forward = at(traffic, Collective::all_reduce, Phase::forward);
      EXPECT_EQ(forward.calls, 1 + 2 * 2 + 1 + 1);
      EXPECT_EQ(forward.bytes, 6 * tokens + c.batch * 2 * 8);
      // f of the gathered tokens (one a rank), of the same pairs, and of what all predict from.
      const ops::Traffic backward = at(traffic, Collective::all_reduce, Phase::backward);
      EXPECT_EQ(backward.calls, 1 + 2 * 2 + 1 + 1);
      EXPECT_EQ(backward.bytes, (ranks + 2 * 2 + 1 + 1) * tokens);
    }
  }
}

TEST_F(Traffic, TheBaselineSendsTheGradientOfAllTokens) {
  if (test::communicator().size() == 1) GTEST_SKIP() << "one rank sends nothing";
  using ops::Collective, ops::Phase;
  Case c{.name = "baseline", .mae = false, .distributed = false};
  c.aggregation = {.heads = 8, .fused = false};
  const auto traffic = of_step(c);
  const std::int64_t tokens = c.batch * 6 * 32 * 4;
  EXPECT_EQ(at(traffic, Collective::all_gather, Phase::forward).calls, 0);
  EXPECT_EQ(at(traffic, Collective::all_reduce, Phase::forward).bytes, 6 * tokens);
  EXPECT_EQ(at(traffic, Collective::all_reduce, Phase::backward).bytes,
            (c.channels + 2 * 2 + 1) * tokens);
}

TEST_F(Traffic, SequenceParallelismSendsAsMuch) {
  const int ranks = test::communicator().size();
  if (ranks == 1) GTEST_SKIP() << "one rank sends nothing";
  using ops::Collective, ops::Phase;
  Case c{.name = "sequence", .mae = false, .sequence_parallel = true};
  c.aggregation = {.heads = 8};
  const auto traffic = of_step(c);
  const std::int64_t tokens = c.batch * 6 * 32 * 4;
  // Two reduce-scatters a block in place of two all-reduces, each way.
  EXPECT_EQ(at(traffic, Collective::reduce_scatter, Phase::forward).calls, 2 * 2);
  EXPECT_EQ(at(traffic, Collective::reduce_scatter, Phase::forward).bytes, 2 * 2 * tokens);
  EXPECT_EQ(at(traffic, Collective::reduce_scatter, Phase::backward).calls, 2 * 2);
  EXPECT_EQ(at(traffic, Collective::reduce_scatter, Phase::backward).bytes, 2 * 2 * tokens);
}

}  // namespace
}  // namespace trib::model
