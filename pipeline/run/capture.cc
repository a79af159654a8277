#include "pipeline/run/capture.h"

#include <filesystem>

#include <fmt/format.h>

#include "model/model.h"
#include "model/parallel/assemble.h"
#include "ops/base/error.h"
#include "pipeline/graph/suggest.h"

namespace trib::pipeline {

Capture::Capture(CaptureOptions options, const Plan& plan)
    : options_(std::move(options)), plan_(plan) {
  if (options_.nodes.empty()) return;
  if (!plan.training()) throw ConfigError("--capture needs a graph that trains");
  if (options_.step < 1 || options_.step > plan.training()->steps) {
    throw ConfigError(fmt::format("--capture-step {}: the run has steps 1 to {}", options_.step,
                                  plan.training()->steps));
  }
  for (const std::string& name : options_.nodes) {
    const int number = plan.find(name);
    if (number < 0) {
      std::vector<std::string> names;
      for (const PlannedNode& node : plan.nodes()) names.push_back(node.name());
      throw ConfigError(fmt::format("--capture: no node '{}'{}", name, did_you_mean(name, names)));
    }
    const PlannedNode& node = plan.nodes()[static_cast<std::size_t>(number)];
    if (node.batch == nullptr && node.model == nullptr) {
      throw ConfigError(
          fmt::format("--capture: '{}' is a {}; batch and model nodes can be captured", name,
                      node.definition->type()));
    }
  }
}

void Capture::add(const std::string& name, const Tensor& tensor, std::int64_t extent,
                  const TensorSplit& split) {
  if (!tensor.defined()) return;
  const model::TensorGroup& group = plan_.model()->group();
  Tensor whole = model::assemble(tensor, extent, split, group);
  if (group.rank() == 0) tensors_.push_back({name, std::move(whole)});
}

void Capture::after_layer(const StepMessage& message, int number) {
  if (number == 0) tensors_.clear();
  const model::Layer& layer = *plan_.model()->layers()[static_cast<std::size_t>(number)];
  for (const std::string& name : options_.nodes) {
    const PlannedNode& node = plan_.nodes()[static_cast<std::size_t>(plan_.find(name))];
    if (node.model == nullptr || node.layer != number) continue;
    for (const model::Output& output : layer.outputs(*message.step)) {
      add(fmt::format("{}.{}", name, output.name), output.tensor, output.extent, output.split);
    }
  }
}

void Capture::after_forward(const StepMessage& message, model::ShardedParameters& parameters) {
  for (const std::string& name : options_.nodes) {
    const PlannedNode& node = plan_.nodes()[static_cast<std::size_t>(plan_.find(name))];
    if (node.batch == nullptr) continue;
    const bool is_divided = node.info.division.distributed && node.info.division.ranks > 1;
    const auto part = [&](const Tensor& tensor, const std::vector<std::int64_t>& own,
                          std::size_t all, const char* suffix) {
      add(name + suffix, tensor, static_cast<std::int64_t>(all),
          is_divided ? TensorSplit{.axis = 1, .own = ranges_of(own)} : TensorSplit{});
    };
    part(message.batch->x_bchw, node.info.own_channels, node.info.channels.size(), ".x_bchw");
    part(message.batch->target_bvhw, node.info.own_targets, node.info.targets.size(),
         ".target_bvhw");
  }
  add_parameters("parameters.", parameters.plan().layout, parameters.whole_values());
}

void Capture::add_parameters(const char* prefix, const model::ShardLayout& layout,
                             const Tensor& units) {
  for (const model::ParameterSpec& spec : layout.table().specs()) {
    const Shape local = spec.local();
    const std::int64_t begin = layout.unit_begin(spec.unit) + spec.offset;
    const Tensor part = units.slice(0, begin, begin + local.numel()).reshape(local);
    const std::int64_t extent = spec.split.active() ? spec.shape[spec.split.axis] : 0;
    add(prefix + spec.name, part, extent, spec.split);
  }
}

void Capture::after_backward(model::ShardedParameters& parameters, const std::string& run_folder,
                             int rank) {
  if (options_.gradients) {
    add_parameters("gradients.", parameters.plan().layout, parameters.whole_gradients());
  }
  if (plan_.model()->group().rank() > 0) return;
  std::filesystem::create_directories(run_folder + "/capture");
  io::write_safetensors(fmt::format("{}/capture/step-{}{}.safetensors", run_folder, options_.step,
                                    rank > 0 ? fmt::format(".rank{}", rank) : ""),
                        tensors_);
  tensors_.clear();
}

}  // namespace trib::pipeline
