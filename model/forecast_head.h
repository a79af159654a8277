// Prediction of target fields from spatial tokens (ClimaX's head).
//
// Axes: b sample, n token, d dim, v predicted variable, h/w pixel, p pixel of a patch, r = b x n.
#pragma once

#include <memory>
#include <vector>

#include "model/modules.h"
#include "model/parallel/chain_linear.h"
#include "model/plan.h"

namespace trib::model {

/// depth x [Linear(D, D), GELU], Linear(D, V * p * p), patches to images; numbered as the
/// torch.nn.Sequential it is: head.0, head.2, ... The loss is the latitude-weighted mean squared
/// error of the target; it is left at 0 where there is no target (a model that is only applied).
/// Each rank of the tensor axis predicts the variables among its own targets.
class ForecastHead : public Layer {
 public:
  ForecastHead(ParameterTable& table, const ModelPlan& plan, const ForecastHeadOptions& options);

  void begin(Step& step) const override;
  void forward(Step& step) const override;
  void backward(Step& step, Parameters& parameters) const override;
  LayerMemory memory(std::int64_t batch, bool training) const override;
  std::int64_t flops(std::int64_t batch) const override;
  std::vector<Output> outputs(const Step& step) const override;

 private:
  struct State;

  /// Own predicted variables.
  std::int64_t variables() const { return static_cast<std::int64_t>(targets_.size()); }
  std::int64_t image_pixels() const { return plan_.input.height * plan_.input.width; }
  std::int64_t hidden_depth() const { return std::ssize(hidden_); }
  void add_input(const Step& step, float* prediction_bvhw) const;
  bool predicts_all_targets() const;
  const float* predicted_targets(const Step& step) const;
  ConstFloatPtr operand_of_x(const Step& step) const;
  ConstFloatPtr run_hidden(const Step& step, const State& state) const;
  void compute_loss(Step& step, State& state) const;
  void loss_gradient(const Step& step, const State& state, FloatPtr d_patches_rp) const;

  const ModelPlan& plan_;
  // By own variable: its place among own targets, and among own channels if it is added to them.
  std::vector<std::int64_t> targets_, channels_;
  std::int64_t all_variables_ = 0;
  TensorSplit variable_split_;  // of the prediction, axis 1
  std::vector<float> row_weights_;
  std::vector<ChainLinear> hidden_;
  std::unique_ptr<Linear> last_;
};

}  // namespace trib::model
