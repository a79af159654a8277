// Distributed cross-channel hierarchical aggregation (D-CHAG, Tsaris et al., SC25).
#pragma once

#include <memory>
#include <vector>

#include "model/aggregation/aggregation_layer.h"
#include "model/aggregation/channel_reducer.h"

namespace trib::model {

/// The channels are divided into partitions. Each partition is merged into one token by a reducer
/// of its own, on the rank that holds its channels; the tokens of all partitions are gathered, and
/// a cross-attention whose heads the ranks share merges them.
///
/// With tree: N, a partition's channels form N groups, each merged into a token, and these are
/// merged once more. The gather is all the communication that D-CHAG adds: its backward is the own
/// slice, exact because the final cross-attention adds up its input gradient over the ranks.
class DchagAggregation final : public AggregationLayer {
 public:
  DchagAggregation(ParameterTable& table, const ModelPlan& plan, const AggregationOptions& options);

  void backward(Step& step, Parameters& parameters) const override;
  std::int64_t flops(std::int64_t batch) const override;

 private:
  /// The reducers of a partition. Those of a tree may be one and the same.
  struct Partition {
    std::vector<std::shared_ptr<ChannelReducer>> leaves;  // one a group, of channels
    std::shared_ptr<ChannelReducer> root;                 // of group tokens; null without a tree
    std::vector<Range> groups;                            // counted from the rank's first channel

    std::size_t num_uses() const { return leaves.size() + (root ? 1 : 0); }
  };
  struct State;

  void merge(Step& step, float* x_rd) const override;
  LayerMemory merge_memory(std::int64_t rows) const override;

  Partition make_partition(ParameterTable& table, const AggregationOptions& options,
                           std::int64_t number) const;
  /// Own partitions, in order.
  const Partition& own(std::int64_t i) const {
    return partitions_[static_cast<std::size_t>(own_partitions_.begin + i)];
  }
  std::int64_t num_partitions() const { return static_cast<std::int64_t>(partitions_.size()); }
  /// Leaves and roots of the own partitions.
  std::size_t num_uses() const;
  /// `uses` are those of the partition: its leaves in order, then its root.
  void merge_partition(Step& step, std::unique_ptr<LayerState>* uses, const Partition& partition,
                       float* token_rd) const;
  /// `block` counts d_tokens before the partition; d_token_rd is used up.
  void partition_backward(Step& step, Parameters& parameters, const Partition& partition,
                          const std::unique_ptr<LayerState>* uses, std::size_t block,
                          float* d_token_rd) const;

  bool is_fused_;
  Range own_partitions_;
  std::vector<std::int64_t> gather_counts_;  // floats of a position's partition tokens, by rank
  std::vector<Partition> partitions_;
  std::unique_ptr<ChannelReducer> final_;
};

}  // namespace trib::model
