#include "pipeline/run/capture.h"

#include <filesystem>

#include <fmt/format.h>

#include "model/model.h"
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

void Capture::add(const std::string& name, const Tensor& tensor) {
  if (tensor.numel() > 0) tensors_.push_back({name, tensor.clone()});
}

void Capture::after_forward(const StepMessage& message, const model::Parameters& parameters) {
  tensors_.clear();
  for (const std::string& name : options_.nodes) {
    const PlannedNode& node = plan_.nodes()[static_cast<std::size_t>(plan_.find(name))];
    if (node.batch != nullptr) {
      add(name + ".x_bchw", message.batch->x_bchw);
      add(name + ".target_bvhw", message.batch->target_bvhw);
      continue;
    }
    const model::Layer& layer = *plan_.model()->layers()[static_cast<std::size_t>(node.layer)];
    for (const auto& [output, tensor] : layer.outputs(*message.step)) {
      add(fmt::format("{}.{}", name, output), tensor);
    }
  }
  const auto& specs = parameters.table().specs();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    add("parameters." + specs[i].name, parameters.value_tensor(static_cast<int>(i)));
  }
}

void Capture::after_backward(const model::Parameters& parameters, const std::string& run_folder,
                             int rank) {
  const auto& specs = parameters.table().specs();
  for (std::size_t i = 0; options_.gradients && i < specs.size(); ++i) {
    add("gradients." + specs[i].name, parameters.gradient_tensor(static_cast<int>(i)));
  }
  std::filesystem::create_directories(run_folder + "/capture");
  io::write_safetensors(fmt::format("{}/capture/step-{}{}.safetensors", run_folder, options_.step,
                                    rank > 0 ? fmt::format(".rank{}", rank) : ""),
                        tensors_);
  tensors_.clear();
}

}  // namespace trib::pipeline
