// Position and lead-time embeddings, then the transformer.
#pragma once

#include "model/plan.h"
#include "model/transformer.h"

namespace trib::model {

/// x = norm(blocks(dropout(x + pos_embed[visible] + lead_time_embed(hours / 100)))).
class Encoder : public Layer {
 public:
  Encoder(ParameterTable& table, const ModelPlan& plan, const EncoderOptions& options);

  void forward(Step& step) const override;
  void backward(Step& step, Parameters& parameters) const override;
  LayerMemory memory(std::int64_t batch, bool training) const override;
  std::int64_t flops(std::int64_t batch) const override;
  std::vector<Output> outputs(const Step& step) const override;

 private:
  void add_lead_time(const Step& step, float* x_bnd) const;
  void add_lead_time_gradient(const Step& step, Parameters& parameters, const float* dx_bnd) const;

  const ModelPlan& plan_;
  ParameterId pos_embed_;
  ParameterId lead_weight_, lead_bias_;  // -1: no lead time
  Dropout position_dropout_;
  Transformer transformer_;
};

}  // namespace trib::model
