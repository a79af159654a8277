// Patches of every channel, and the weights that turn each into a token (ClimaX's stacked patch
// embedding with a channel embedding).
//
// Axes: b sample, n visible token, c channel, p pixel of a patch, d dim, r row (b x n).
#pragma once

#include "model/plan.h"

namespace trib::model {

/// token[b, n, c] = W_c patch[b, n, c] + bias_c + var_embed_c.
///
/// forward looks at the visible patches only: masking comes before tokenising, since tokenising and
/// channel aggregation work position by position. Missing pixels (NaN) become 0, the mean of
/// normalised data. For an aggregation that asks for tokens, the patches are cut out; others find
/// them in the images.
class Tokenizer : public Layer {
 public:
  Tokenizer(ParameterTable& table, const ModelPlan& plan);

  void forward(Step& step) const override;
  /// From step.channels.d_tokens; an aggregation that fills none adds the tokenizer's gradients
  /// itself.
  void backward(Step& step, Parameters& parameters) const override;
  LayerMemory memory(std::int64_t batch, bool training) const override;
  std::int64_t flops(std::int64_t batch) const override;
  std::vector<Output> outputs(const Step& step) const override;

  /// Finished tokens [R, channels.size(), D] of some own channels, counted from the rank's first.
  void tokens(const Step& step, float* tokens_rcd, Range channels) const;

  ParameterId weights() const { return weights_; }      ///< [C, D, 1, p, p]
  ParameterId biases() const { return biases_; }        ///< [C, D]
  ParameterId var_embed() const { return var_embed_; }  ///< [1, C, D]

 private:
  void make_patches(const Step& step, float* patches_bncp) const;
  void tokens_backward(const Step& step, Parameters& parameters, Range channels,
                       const float* d_tokens_rcd) const;

  const ModelPlan& plan_;
  ParameterId weights_, biases_, var_embed_;
};

}  // namespace trib::model
