#include "bench/step/training.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "io/safetensors.h"
#include "ops/base/error.h"

namespace trib::bench {
namespace {

constexpr std::uint64_t kSeed = 7;
constexpr double kLearningRate = 1e-4;
constexpr double kClipNorm = 1;

model::StepInput own_input(const Preset& preset, std::int64_t batch,
                           const ops::Communicator& communicator) {
  const std::int64_t ranks = communicator.size(), rank = communicator.rank();
  if (batch % ranks != 0) {
    throw ConfigError(fmt::format("--batch {} is no multiple of the {} ranks", batch, ranks));
  }
  return make_input(preset, batch / ranks * rank, batch / ranks * (rank + 1));
}

model::ShardingPlan plan_of(const model::Model& model, const ops::Communicator& communicator) {
  const ops::MeshShape& mesh = communicator.mesh();
  return {model.table(),
          {.strategy = model::ShardingStrategy::none},
          mesh,
          mesh.coordinates(communicator.rank())};
}

}  // namespace

Training::Training(const Preset& preset, const ModelChoices& choices, std::int64_t batch,
                   ops::Communicator& communicator)
    : communicator_(communicator),
      model_(make_model(preset, choices)),
      parameters_(model_->table(), model_->group(), plan_of(*model_, communicator), communicator),
      optimizer_(parameters_.plan().layout, {}),
      input_(own_input(preset, batch, communicator)),
      arena_(static_cast<std::size_t>(model_->arena_bytes(rank_batch(), /*training=*/true))) {
  model_->connect(communicator);
  parameters_.initialize(kSeed);
}

double Training::forward_and_backward() {
  communicator_.enter(ops::Phase::forward);
  arena_.reset();
  parameters_.begin_step();
  if (step_) {
    step_->input = input_;
  } else {
    step_.emplace(input_, arena_, parameters_.parameters(), /*train=*/true);
  }
  model::Step& step = *step_;
  model_->begin(step, kSeed);
  model_->forward(step);
  communicator_.enter(ops::Phase::backward);
  parameters_.begin_backward(/*is_last=*/true);
  model_->backward(step, parameters_.parameters(), 1.0F / static_cast<float>(communicator_.size()));
  parameters_.finish_backward();
  return step.loss;
}

double Training::step() {
  const double loss = forward_and_backward();
  communicator_.enter(ops::Phase::optimizer);
  const double clip = kClipNorm / std::max(parameters_.gradient_norm(), kClipNorm);
  optimizer_.step(parameters_.shards(), kLearningRate, clip);
  parameters_.values_changed(/*with_copies=*/true);
  communicator_.enter(ops::Phase::setup);
  return loss;
}

void Training::dump(const std::string& path) {
  if (communicator_.size() > 1) throw ConfigError("--dump is for one rank");
  Tensor loss = Tensor::zeros({1}, DType::f32, MemoryKind::workspace);
  *loss.data<float>() = static_cast<float>(forward_and_backward());
  std::vector<io::NamedTensor> tensors{{"x", input_.x_bchw}, {"loss", std::move(loss)}};
  if (input_.target_bvhw.defined()) tensors.push_back({"target", input_.target_bvhw});
  const model::Parameters& parameters = parameters_.parameters();
  for (model::ParameterId id = 0; id < std::ssize(model_->table().specs()); ++id) {
    const std::string& name = model_->table().spec(id).name;
    tensors.push_back({"parameter." + name, parameters.value_tensor(id)});
    tensors.push_back({"gradient." + name, parameters.gradient_tensor(id)});
  }
  io::write_safetensors(path, tensors);
}

}  // namespace trib::bench
