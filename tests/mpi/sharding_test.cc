// Models in training under every sharding strategy against the same model on one rank, which every
// rank computes for itself: losses, bytes held, bytes sent. The mesh is that of TRIB_TEST_MESH,
// "data x shard x tensor".

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/model.h"
#include "model/optimizer.h"
#include "model/parallel/gradients.h"
#include "model/parallel/sharded_parameters.h"
#include "ops/base/random.h"
#include "tests/support/mpi_test.h"

namespace trib::model {
namespace {

using ops::Collective, ops::MeshAxis, ops::Phase;

constexpr std::uint64_t kSeed = 17;
constexpr std::int64_t kBatch = 16;  // samples of an update
constexpr std::int64_t kHeight = 8, kWidth = 12, kChannels = 9;

ops::MeshShape mesh() {
  ops::MeshShape shape;
  const char* text = std::getenv("TRIB_TEST_MESH");
  if (text != nullptr) std::sscanf(text, "%dx%dx%d", &shape.data, &shape.shard, &shape.tensor);
  return shape;
}

struct Case {
  ShardingStrategy strategy = ShardingStrategy::full;
  Prefetch prefetch = Prefetch::backward_pre;
  std::int64_t recompute = 0;
  std::int64_t accumulate = 1;
  bool mae = true;
  Precision precision = Precision::fp32, collectives = Precision::fp32;

  bool rounds() const { return precision == Precision::bf16 || collectives == Precision::bf16; }
};

std::string name_of(const Case& c) {
  constexpr std::array<const char*, 3> kStrategies{"none", "grad_op", "full"};
  constexpr std::array<const char*, 3> kPrefetches{"on_demand", "pre", "post"};
  return fmt::format("{}_{}_recompute{}_accumulate{}_{}{}{}",
                     kStrategies[static_cast<std::size_t>(c.strategy)],
                     kPrefetches[static_cast<std::size_t>(c.prefetch)], c.recompute, c.accumulate,
                     c.mae ? "mae" : "forecast", c.precision == Precision::bf16 ? "_bf16" : "",
                     c.collectives == Precision::bf16 ? "_sent_as_bf16" : "");
}

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << name_of(c);
}

std::unique_ptr<Model> make_model(const Case& c, const Division& division) {
  InputSpec input{.channels = {}, .height = kHeight, .width = kWidth};
  for (std::int64_t i = 0; i < kChannels; ++i) input.channels.push_back(fmt::format("c{}", i));
  if (!c.mae) input.targets = {"c7", "other", "c3"};
  auto made = std::make_unique<Model>(input, division, c.precision);
  made->add_tokenizer({.patch = 4, .dim = 32});
  made->add_aggregation({.heads = 4});
  made->add_encoder({.depth = 3,
                     .heads = 4,
                     .mlp_ratio = 2,
                     .lead_time = !c.mae,
                     .drop_rate = 0.1,
                     .drop_path_rate = 0.1,
                     .recompute = c.recompute});
  if (c.mae) {
    made->add_mae_head(
        {.mask_ratio = 0.5, .dim = 16, .depth = 2, .heads = 4, .recompute = c.recompute});
  } else {
    made->add_forecast_head({.depth = 2});
  }
  return made;
}

// Images of a sample, the same wherever it is worked on; some pixels are missing.
void fill_sample(float* to, const char* stream, std::int64_t sample, std::int64_t channels) {
  const RandomStream random = RandomStream(3, stream).substream(static_cast<std::uint64_t>(sample));
  for (std::int64_t i = 0; i < channels * kHeight * kWidth; ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    const bool is_missing = random.substream(1).uniform(at) < 0.02F;
    to[i] = is_missing ? std::nanf("") : random.normal(at);
  }
}

Tensor images(const char* stream, Range samples, std::int64_t all,
              const std::vector<std::int64_t>& own) {
  const std::int64_t pixels = kHeight * kWidth;
  Tensor x = Tensor::empty({samples.size(), std::ssize(own), kHeight, kWidth});
  std::vector<float> whole(static_cast<std::size_t>(all * pixels));
  float* to = x.data<float>();
  for (std::int64_t sample = samples.begin; sample < samples.end; ++sample) {
    fill_sample(whole.data(), stream, sample, all);
    for (const std::int64_t channel : own) {
      to = std::copy_n(whole.data() + channel * pixels, pixels, to);
    }
  }
  return x;
}

StepInput input_of(const Model& model, Range samples) {
  std::vector<std::int64_t> own;
  for (std::int64_t c = model.own_channels().begin; c < model.own_channels().end; ++c) {
    own.push_back(c);
  }
  StepInput input;
  input.x_bchw = images("x", samples, kChannels, own);
  input.target_bvhw = images("y", samples, std::ssize(model.input().targets), model.own_targets());
  for (std::int64_t sample = samples.begin; sample < samples.end; ++sample) {
    input.lead_hours.push_back(static_cast<float>(6 * (sample % 3 + 1)));
    input.sample_keys.push_back(static_cast<std::uint64_t>(sample));
  }
  return input;
}

/// The whole model on one rank, with nothing of sharding.
class WholeTraining {
 public:
  explicit WholeTraining(const Case& c)
      : model_(make_model({.mae = c.mae}, {})),
        parameters_(model_->table()),
        optimizer_(ShardLayout(model_->table()), {}) {
    parameters_.initialize(kSeed);
  }
  double step(std::int64_t number) {
    arena_.reset();
    parameters_.zero_gradients();
    Step step(input_of(*model_, {number * kBatch, (number + 1) * kBatch}), arena_, parameters_,
              /*train=*/true);
    model_->begin(step, kSeed);
    model_->forward(step);
    model_->backward(step, parameters_);
    norm_ = gradient_norm(parameters_);
    optimizer_.step(parameters_, 1e-3);
    return step.loss;
  }
  double norm() const { return norm_; }

 private:
  std::unique_ptr<Model> model_;
  Parameters parameters_;
  AdamW optimizer_;
  StepArena arena_;
  double norm_ = 0;
};

/// The model on the mesh.
class Training {
 public:
  explicit Training(const Case& c)
      : case_(c),
        communicator_(test::communicator()),
        model_(make_model(c, {.ranks = mesh().tensor, .rank = place().tensor})),
        parameters_(
            model_->table(), model_->group(),
            ShardingPlan(model_->table(), {c.strategy, c.prefetch, c.accumulate, c.collectives},
                         mesh(), place()),
            communicator_),
        optimizer_(parameters_.plan().layout, {}) {
    if (mesh().tensor > 1) model_->connect(communicator_);
    parameters_.initialize(kSeed);
  }

  static ops::MeshCoordinates place() { return mesh().coordinates(test::communicator().rank()); }

  double step(std::int64_t number) {
    const std::int64_t ranks = mesh().size(MeshAxis::samples);
    const std::int64_t share = kBatch / ranks, micro = share / case_.accumulate;
    const std::int64_t first = number * kBatch + communicator_.rank(MeshAxis::samples) * share;
    double loss = 0;
    parameters_.begin_step();
    for (std::int64_t k = 0; k < case_.accumulate; ++k) {
      arena_.reset();
      Step step(input_of(*model_, {first + k * micro, first + (k + 1) * micro}), arena_,
                parameters_.parameters(), /*train=*/true);
      communicator_.enter(Phase::forward);
      model_->begin(step, kSeed);
      model_->forward(step);
      loss += step.loss / static_cast<double>(case_.accumulate * ranks);
      communicator_.enter(Phase::backward);
      parameters_.begin_backward(k + 1 == case_.accumulate);
      model_->backward(step, parameters_.parameters(),
                       1.0F / static_cast<float>(case_.accumulate * ranks));
    }
    parameters_.finish_backward();
    communicator_.enter(Phase::setup);
    norm_ = parameters_.gradient_norm();
    optimizer_.step(parameters_.shards(), 1e-3);
    parameters_.values_changed(/*with_copies=*/true);
    communicator_.all_reduce_sum(MeshAxis::samples, std::span<double>(&loss, 1)).wait();
    return loss;
  }

  double norm() const { return norm_; }
  const Model& model() const { return *model_; }
  const StepArena& arena() const { return arena_; }

 private:
  const Case& case_;
  ops::Communicator& communicator_;
  std::unique_ptr<Model> model_;
  ShardedParameters parameters_;
  AdamW optimizer_;
  StepArena arena_;
  double norm_ = 0;
};

class Sharding : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    ops::Communicator& communicator = test::communicator();
    if (communicator.mesh().size() != communicator.size()) {
      communicator.split(mesh());
      communicator.set_check_order(true);
    }
  }
};

TEST_P(Sharding, LossesOfTwentyStepsAreThoseOfOneRank) {
  const Case& c = GetParam();
  Training sharded(c);
  WholeTraining whole(c);
  for (std::int64_t number = 0; number < 20; ++number) {
    const double loss = sharded.step(number), expected = whole.step(number);
    // Rounding of single precision, over sums of many terms; or of numbers with 8 bits.
    const double tolerance = c.rounds() ? 5e-3 : 1e-5;
    ASSERT_NEAR(loss, expected, tolerance * std::abs(expected)) << "step " << number;
    ASSERT_NEAR(sharded.norm(), whole.norm(), 10 * tolerance * whole.norm()) << "step " << number;
  }
}

// --- what is held, by formulas of their own ------------------------------------------------------

struct Sizes {
  std::int64_t all = 0;   // P: elements of all units, padded to equal shards of whole cache lines
  std::int64_t bf16 = 0;  // of those with operands of products, at bf16
  std::int64_t last = 0;
  std::array<std::int64_t, 2> largest{};  // of even and odd units
};

Sizes sizes_of(const ParameterTable& table, bool is_sharded) {
  const std::int64_t multiple = 16 * (is_sharded ? mesh().shard : 1);
  Sizes sizes;
  for (std::size_t u = 0; u < table.units().size(); ++u) {
    const std::int64_t size = (table.units()[u].size + multiple - 1) / multiple * multiple;
    sizes.all += size;
    sizes.last = size;
    sizes.largest[u % 2] = std::max(sizes.largest[u % 2], size);
    if (table.units()[u].has_bf16) sizes.bf16 += size;
  }
  return sizes;
}

// Two slots for gradients on their way as bfloat16, with room for the shard that comes back.
std::int64_t bytes_of_rounded_sums(const Case& c, const Sizes& sizes, bool is_sharded,
                                   std::int64_t s) {
  if (c.collectives != Precision::bf16 || mesh().size(MeshAxis::samples) == 1) return 0;
  const std::int64_t pair = sizes.largest[0] + sizes.largest[1];
  return 2 * (pair + (is_sharded ? pair / s : 0));
}

// Two slots for gathered values: float32, bfloat16 or, at both precisions, what each needs.
std::int64_t bytes_of_gathered(const Case& c, const ParameterTable& table, std::int64_t s) {
  std::array<std::int64_t, 2> wide{}, narrow{};
  for (std::size_t u = 0; u < table.units().size(); ++u) {
    const ParameterUnit& unit = table.units()[u];
    const std::int64_t size = (unit.size + 16 * s - 1) / (16 * s) * (16 * s);
    std::int64_t others = 0;
    for (ParameterId id = unit.first; id < unit.end; ++id) {
      const ParameterSpec& spec = table.spec(id);
      if (!spec.is_operand) others += (spec.local().numel() + 15) / 16 * 16;
    }
    const bool is_narrow = unit.has_bf16 && c.collectives == Precision::bf16;
    wide[u % 2] = std::max(wide[u % 2], is_narrow ? others : size);
    if (unit.has_bf16) narrow[u % 2] = std::max(narrow[u % 2], size);
  }
  return 4 * (wide[0] + wide[1]) + 2 * (narrow[0] + narrow[1]);
}

TEST_P(Sharding, BytesHeldFollowTheFormulas) {
  const Case& c = GetParam();
  const bool is_sharded = mesh().shard > 1 && c.strategy != ShardingStrategy::none;
  const bool is_full = is_sharded && c.strategy == ShardingStrategy::full;
  memory_ledger::reset_peaks();
  const auto before = memory_ledger::snapshot();
  Training sharded(c);
  sharded.step(0);
  sharded.step(1);
  const auto after = memory_ledger::snapshot();
  const auto held = [&](MemoryKind kind) {
    const auto k = static_cast<std::size_t>(kind);
    return after[k].peak - before[k].live;
  };
  const std::int64_t s = is_sharded ? mesh().shard : 1;
  const Sizes sizes = sizes_of(sharded.model().table(), is_sharded);
  const std::int64_t pair = sizes.largest[0] + sizes.largest[1];
  EXPECT_EQ(held(MemoryKind::parameters),
            is_full ? 4 * sizes.all / s : 4 * sizes.all + 2 * sizes.bf16);
  EXPECT_EQ(held(MemoryKind::gradients),
            4 * (sizes.all / s + (is_sharded && c.accumulate > 1 ? sizes.all : 0)));
  EXPECT_EQ(held(MemoryKind::optimizer), 2 * 4 * sizes.all / s);
  // Slots for two units, so that more than two are never gathered.
  const std::int64_t gradients = is_sharded && c.accumulate == 1 ? 4 * pair : 0;
  const std::int64_t sums = bytes_of_rounded_sums(c, sizes, is_sharded, s);
  const std::int64_t values = is_full ? bytes_of_gathered(c, sharded.model().table(), s) : 0;
  EXPECT_EQ(held(MemoryKind::communication),
            gradients + sums + values +
                partial_gradient_bytes(sharded.model().table(), sharded.model().group()));
  const std::int64_t micro = kBatch / mesh().size(MeshAxis::samples) / c.accumulate;
  EXPECT_EQ(static_cast<std::int64_t>(sharded.arena().peak()),
            sharded.model().arena_bytes(micro, /*training=*/true));
}

// --- what is sent, by the formulas of ZeRO -------------------------------------------------------

TEST_P(Sharding, BytesSentFollowTheFormulas) {
  const Case& c = GetParam();
  Training sharded(c);
  sharded.step(0);
  const auto before = test::communicator().traffic().snapshot();
  sharded.step(1);
  const auto after = test::communicator().traffic().snapshot();
  const auto sent = [&](Collective collective, MeshAxis axis, Phase phase) {
    const auto k = static_cast<std::size_t>(collective), a = static_cast<std::size_t>(axis),
               p = static_cast<std::size_t>(phase);
    return after[k][a][p].bytes - before[k][a][p].bytes;
  };
  const bool is_sharded = mesh().shard > 1 && c.strategy != ShardingStrategy::none;
  const bool is_full = is_sharded && c.strategy == ShardingStrategy::full;
  const std::int64_t s = mesh().shard;
  const auto [all, bf16, last, largest] = sizes_of(sharded.model().table(), is_sharded);
  const std::int64_t sent_bytes = c.collectives == Precision::bf16 ? 2 : 4;

  // DDP: the gradients of all ranks with other samples, once.
  const bool reduces_all = !is_sharded && mesh().size(MeshAxis::samples) > 1;
  EXPECT_EQ(sent(Collective::all_reduce, MeshAxis::samples, Phase::backward),
            reduces_all ? sent_bytes * all : 0);
  // ZeRO-2 and 3: reduce-scatter over shards; then, in a hybrid, the shard over its replicas.
  EXPECT_EQ(sent(Collective::reduce_scatter, MeshAxis::shard, Phase::backward),
            is_sharded ? sent_bytes * all : 0);
  EXPECT_EQ(sent(Collective::all_reduce, MeshAxis::data, Phase::backward),
            is_sharded && mesh().data > 1 ? 4 * all / s : 0);
  // ZeRO-2 gathers what the update made; ZeRO-3 before each forward and backward pass, but the last
  // unit only once: the backward pass begins with it.
  const std::int64_t forward = sent(Collective::all_gather, MeshAxis::shard, Phase::forward);
  const std::int64_t backward = sent(Collective::all_gather, MeshAxis::shard, Phase::backward);
  if (!is_sharded) {
    EXPECT_EQ(forward + backward, 0);
  } else if (!is_full) {
    EXPECT_EQ(forward, 4 * all / s);
    EXPECT_EQ(backward, 0);
  } else {
    // The stem is still there when the next micro-batch begins. It has no operands of products.
    const std::int64_t stem = (sharded.model().table().unit(0).size + 16 * s - 1) / (16 * s) * 16;
    const std::int64_t saved = (4 - sent_bytes) * bf16 / s;  // by gathering these in half the bytes
    EXPECT_EQ(forward, 4 * (c.accumulate * all / s - (c.accumulate - 1) * stem) - saved);
    if (c.recompute <= 1) {
      const std::int64_t saved_of_last = bf16 > 0 ? (4 - sent_bytes) * last / s : 0;
      EXPECT_EQ(backward, 4 * c.accumulate * (all - last) / s - saved + saved_of_last);
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto strategy :
       {ShardingStrategy::none, ShardingStrategy::grad_op, ShardingStrategy::full}) {
    for (const auto prefetch : {Prefetch::none, Prefetch::backward_pre, Prefetch::backward_post}) {
      for (const std::int64_t recompute : {0, 1}) {
        all.push_back({strategy, prefetch, recompute});
      }
      all.push_back({strategy, prefetch, 2});
      all.push_back({strategy, prefetch, 0, 2});
    }
    all.push_back({.strategy = strategy, .recompute = 1, .accumulate = 2, .mae = false});
    all.push_back({.strategy = strategy, .mae = false});
    all.push_back({.strategy = strategy, .precision = Precision::bf16});
    all.push_back({.strategy = strategy,
                   .recompute = 1,
                   .mae = false,
                   .precision = Precision::bf16,
                   .collectives = Precision::bf16});
  }
  all.push_back({.collectives = Precision::bf16});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Strategies, Sharding, testing::ValuesIn(cases()),
                         [](const auto& instance) { return name_of(instance.param); });

}  // namespace
}  // namespace trib::model
