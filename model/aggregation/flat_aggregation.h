// One aggregation over all channels.
#pragma once

#include <memory>
#include <vector>

#include "model/aggregation/aggregation_layer.h"
#include "model/aggregation/channel_reducer.h"

namespace trib::model {

/// All channels merged at once, however they are divided:
/// - channels: replicated: every rank has all tokens, and the ranks share the attention heads;
/// - channels: distributed, fused: each rank merges its own channels, and the results are added up
///   under a softmax that all share;
/// - channels: distributed, not fused: all tokens are gathered (distributed tokenisation alone, the
///   comparison of the D-CHAG paper), then as if replicated.
class FlatAggregation final : public AggregationLayer {
 public:
  FlatAggregation(ParameterTable& table, const ModelPlan& plan, const AggregationOptions& options);

  void backward(Step& step, Parameters& parameters) const override;
  std::int64_t flops(std::int64_t batch) const override;

 private:
  struct State;

  void merge(Step& step, float* x_rd) const override;
  LayerMemory merge_memory(std::int64_t rows) const override;

  bool gathers_tokens() const;

  bool is_fused_, splits_heads_;
  std::vector<std::int64_t> token_counts_;  // floats of a position's own tokens, by rank
  std::unique_ptr<ChannelReducer> reducer_;
};

}  // namespace trib::model
