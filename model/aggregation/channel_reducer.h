// What merges channel tokens of a position into one: the parameters, and two ways to apply them.
//
// Axes: r position (sample x visible token), c channel, n token to be merged, d dim.
#pragma once

#include <memory>
#include <string>

#include "model/plan.h"
#include "ops/kernels/token_weights.h"

namespace trib::model {

/// How the ranks of the tensor group work together in one merge.
enum class Sharing : std::uint8_t {
  none,      ///< one rank does all of it, from parameters that it alone holds
  heads,     ///< all have the same tokens and share the attention heads
  channels,  ///< each has patches of its own channels and adds its part to the result
};

/// A reducer may be used several times in a step (a tree with shared weights): what a use keeps for
/// backward is a state of its own, in a slot of the caller (see state_in). Gradients by the output
/// are complete and the same on every rank.
class ChannelReducer {
 public:
  virtual ~ChannelReducer() = default;

  /// The published form: merge finished tokens into out_rd [rows, D], complete on every rank that
  /// takes part. tokens_rnd must stay until backward.
  virtual void forward_tokens(Step& step, std::unique_ptr<LayerState>& slot, float* out_rd,
                              const float* tokens_rnd, std::int64_t rows, std::int64_t n) const = 0;
  /// Write d_tokens_rnd; under Sharing::heads it is this rank's part, to be added up.
  virtual void backward_tokens(Step& step, Parameters& parameters, const LayerState& state,
                               float* d_tokens_rnd, const float* d_out_rd) const = 0;

  /// The fused form: the same result from the patches of the own channels `channels` (counted from
  /// the rank's first), without forming tokens.
  virtual void forward_patches(Step& step, std::unique_ptr<LayerState>& slot, float* out_rd,
                               Range channels) const = 0;
  /// Add the tokenizer's gradients too; under Sharing::heads they are this rank's part.
  virtual void backward_patches(Step& step, Parameters& parameters, const LayerState& state,
                                const float* d_out_rd) const = 0;

  /// Bytes of one use: kept by forward, taken beyond them by forward, taken by backward.
  virtual LayerMemory tokens_memory(std::int64_t rows, std::int64_t n) const = 0;
  virtual LayerMemory patches_memory(std::int64_t rows, std::int64_t channels) const = 0;
  /// Of one use, forward plus backward.
  virtual std::int64_t tokens_flops(std::int64_t rows, std::int64_t n) const = 0;
  virtual std::int64_t patches_flops(std::int64_t rows, std::int64_t channels) const = 0;
};

/// Where the parameters of a reducer are.
struct ReducerPlace {
  std::string query_name;  ///< "var_query"
  std::string prefix;      ///< "var_agg": then var_agg.q.weight and so on
  Sharing sharing = Sharing::none;
  bool is_owner = true;  ///< under Sharing::none: whether this is the rank that holds them
};

/// Linear(inputs, 1) along the tokens, shared by all positions and dims. A use may have fewer
/// tokens than `inputs`: it takes the first weights. Under Sharing::channels, inputs are all
/// channels.
std::unique_ptr<ChannelReducer> make_channel_linear(ParameterTable& table, const ModelPlan& plan,
                                                    const ReducerPlace& place, std::int64_t inputs);

/// Cross-attention of a learned query with the tokens: kv without bias, no norm before, no
/// residual, output projection with bias (ClimaX; D-CHAG).
std::unique_ptr<ChannelReducer> make_channel_cross_attention(ParameterTable& table,
                                                             const ModelPlan& plan,
                                                             const ReducerPlace& place,
                                                             std::int64_t heads);

/// Patches of some own channels and the weights that make tokens of them.
ops::ChannelPatchesView patches_of(const Step& step, const ModelPlan& plan, Range channels);
ops::TokenWeights token_weights_of(const Step& step, const ModelPlan& plan, Range channels);
ops::TokenGradients token_gradients_of(Parameters& parameters, const ModelPlan& plan,
                                       Range channels);

/// The split of a parameter with `rows` rows that one rank holds.
TensorSplit owned_split(const ModelPlan& plan, const ReducerPlace& place, std::int64_t rows);

}  // namespace trib::model
