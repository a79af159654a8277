// The decoder and the loss of masked autoencoders.
//
// Axes: b sample, n token, e decoder dim, p pixel of a patch, c channel, r row (b x n).
#pragma once

#include <span>

#include "model/modules.h"
#include "model/plan.h"
#include "model/transformer.h"

namespace trib::model {

/// Decoder over visible and mask tokens, predicting the patches [B, N, p * p * C] (channel fastest)
/// of all tokens; the loss is the mean squared error of the masked patches' pixels.
///
/// Missing target pixels (NaN) do not count: the mean is over the finite pixels of masked patches.
/// With norm_pix a patch is scaled by its own mean and unbiased variance, so one with a missing
/// pixel does not count at all. Each rank of the tensor axis predicts its own channels; means and
/// variances are those of all.
class MaeHead : public Layer {
 public:
  MaeHead(ParameterTable& table, const ModelPlan& plan, const MaeHeadOptions& options);

  void begin(Step& step) const override;
  void forward(Step& step) const override;
  void backward(Step& step, Parameters& parameters) const override;
  LayerMemory memory(std::int64_t batch, bool training) const override;
  std::int64_t flops(std::int64_t batch) const override;
  std::vector<Output> outputs(const Step& step) const override;

 private:
  struct State;

  /// Predicted values of a patch, of own channels.
  std::int64_t patch_values() const { return plan_.patch_pixels() * plan_.channels(); }
  /// Embed the visible tokens, put mask tokens between them, add positions.
  void unshuffle(const Step& step, float* y_bne) const;
  void unshuffle_backward(Step& step, Parameters& parameters, const float* dy_bne) const;
  ConstFloatPtr operand_of_x(const Step& step) const;
  void compute_loss(Step& step, State& state) const;
  void loss_gradient(const Step& step, const State& state, FloatPtr d_prediction_rp) const;
  void normalize_targets(State& state, std::int64_t rows) const;
  /// Add up over the ranks, where they predict different channels.
  void add_up_channels(std::span<double> values) const;

  const ModelPlan& plan_;
  MaeHeadOptions options_;
  Linear embed_;
  ParameterId mask_token_, pos_embed_;
  Transformer transformer_;
  Linear pred_;
};

}  // namespace trib::model
