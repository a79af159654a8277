// --capture: the numbers of one training step in a file, to check them against anything else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/parallel/sharded_parameters.h"
#include "pipeline/engine/plan.h"

namespace trib::pipeline {

struct CaptureOptions {
  std::vector<std::string> nodes;  ///< empty: capture nothing
  std::int64_t step = 1;           ///< counted from 1
  bool gradients = false;          ///< of all parameters, averaged over the ranks, before clipping
};

/// Collects the tensors on the edges that leave the chosen nodes, the parameters the step began
/// with and their gradients, and writes capture/step-K.safetensors (with .rankR for ranks that have
/// other samples). What is divided over the tensor axis is put together first: names and shapes
/// are those of an undivided run, and all ranks must take part. Where gradients are accumulated,
/// the tensors on the edges are those of the last micro-batch.
class Capture {
 public:
  /// Throws ConfigError for a node that is not in the graph, or is neither a batch nor a model
  /// node.
  Capture(CaptureOptions options, const Plan& plan);

  bool wants(std::int64_t step) const { return !options_.nodes.empty() && step == options_.step; }
  /// Copy what the forward pass of a layer left, before the next one works on it.
  void after_layer(const StepMessage& message, int layer);
  /// Copy the batch and the parameters.
  void after_forward(const StepMessage& message, model::ShardedParameters& parameters);
  /// Add gradients and write the file below `run_folder`.
  void after_backward(model::ShardedParameters& parameters, const std::string& run_folder,
                      int rank);

 private:
  void add(const std::string& name, const Tensor& tensor, std::int64_t extent,
           const TensorSplit& split);
  void add_parameters(const char* prefix, const model::ShardLayout& layout, const Tensor& units);

  CaptureOptions options_;
  const Plan& plan_;
  std::vector<io::NamedTensor> tensors_;
};

}  // namespace trib::pipeline
