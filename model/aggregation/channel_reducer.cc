#include "model/aggregation/channel_reducer.h"

#include "model/tokenizer.h"

namespace trib::model {

ops::ChannelPatchesView patches_of(const Step& step, const ModelPlan& plan, Range channels) {
  const std::int64_t image = plan.input.height * plan.input.width;
  return {.x = step.input.x_bchw.data<float>() + channels.begin * image,
          .row_offsets = step.channels.row_offsets.data(),
          .channel_stride = image,
          .pitch = plan.input.width,
          .rows = step.batch() * plan.num_visible,
          .channels = channels.size(),
          .height = plan.patch,
          .width = plan.patch};
}

ops::TokenWeights token_weights_of(const Step& step, const ModelPlan& plan, Range channels) {
  const Tokenizer& tokenizer = *plan.tokenizer;
  const std::int64_t at = channels.begin * plan.dim;
  return {.weights_cdp = step.parameters.value(tokenizer.weights()) + at * plan.patch_pixels(),
          .biases_cd = step.parameters.value(tokenizer.biases()) + at,
          .var_embed_cd = step.parameters.value(tokenizer.var_embed()) + at,
          .dim = plan.dim};
}

ops::TokenGradients token_gradients_of(Parameters& parameters, const ModelPlan& plan,
                                       Range channels) {
  const Tokenizer& tokenizer = *plan.tokenizer;
  const std::int64_t at = channels.begin * plan.dim;
  return {.d_weights_cdp = parameters.gradient(tokenizer.weights()) + at * plan.patch_pixels(),
          .d_biases_cd = parameters.gradient(tokenizer.biases()) + at,
          .d_var_embed_cd = parameters.gradient(tokenizer.var_embed()) + at};
}

TensorSplit owned_split(const ModelPlan& plan, const ReducerPlace& place, std::int64_t rows) {
  if (plan.group.is_alone() || place.sharing != Sharing::none) return {};
  return {.axis = 0, .own = {{0, place.is_owner ? rows : 0}}};
}

}  // namespace trib::model
