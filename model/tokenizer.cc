#include "model/tokenizer.h"

#include <algorithm>
#include <cmath>

#include "model/arena_count.h"
#include "ops/base/parallel.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/patchify.h"

namespace trib::model {
namespace {

// One task makes the tokens of this many rows of one channel, or the gradients of this many
// columns of one channel's weights.
constexpr std::int64_t kRowBlock = 256;
constexpr std::int64_t kColumnBlock = 64;

std::int64_t blocks_of(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}

}  // namespace

Tokenizer::Tokenizer(ParameterTable& table, const ModelPlan& plan)
    : plan_(plan),
      weights_(table.add({.name = "token_embeds.proj_weights",
                          .shape = {plan.all_channels(), plan.dim, 1, plan.patch, plan.patch},
                          .init = Init::xavier_uniform,
                          .split = plan.channel_split(0)})),
      biases_(table.add({.name = "token_embeds.proj_biases",
                         .shape = {plan.all_channels(), plan.dim},
                         .decay = false,
                         .split = plan.channel_split(0)})),
      var_embed_(table.add({.name = "var_embed",
                            .shape = {1, plan.all_channels(), plan.dim},
                            .init = Init::sincos_1d,
                            .decay = false,
                            .split = plan.channel_split(1)})) {}

void Tokenizer::forward(Step& step) const {
  step.channels.clear();
  if (plan_.forms_tokens) {
    step.channels.patches_bncp = step.arena.tensor(
        {step.batch(), plan_.num_visible, plan_.channels(), plan_.patch_pixels()});
    make_patches(step, step.channels.patches_bncp.data<float>());
    return;
  }
  const std::int64_t image = plan_.channels() * plan_.input.height * plan_.input.width;
  const std::int32_t* visible = step.masking.visible_or_null();
  const std::int64_t rows = step.batch() * plan_.num_visible;
  step.channels.row_offsets.reserve(static_cast<std::size_t>(rows));
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t n = visible != nullptr ? visible[r] : r % plan_.num_visible;
    const std::int64_t y = n / plan_.grid_width, x = n % plan_.grid_width;
    step.channels.row_offsets.push_back(r / plan_.num_visible * image +
                                        (y * plan_.input.width + x) * plan_.patch);
  }
}

void Tokenizer::make_patches(const Step& step, float* patches_bncp) const {
  ops::patchify_channels(patches_bncp, step.input.x_bchw.data<float>(),
                         step.masking.visible_or_null(), plan_.num_visible, step.batch(),
                         plan_.channels(), plan_.input.height, plan_.input.width, plan_.patch);
  const std::int64_t count =
      step.batch() * plan_.num_visible * plan_.channels() * plan_.patch_pixels();
  parallel_for(count, 1 << 15, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      patches_bncp[i] = std::isnan(patches_bncp[i]) ? 0.0F : patches_bncp[i];
    }
  });
}

void Tokenizer::tokens(const Step& step, float* tokens_rcd, Range channels) const {
  const std::int64_t rows = step.batch() * plan_.num_visible, count = channels.size();
  const std::int64_t pixels = plan_.patch_pixels(), dim = plan_.dim;
  const std::int64_t row_pixels = plan_.channels() * pixels;
  const float* patches_rcp = step.channels.patches_bncp.data<float>() + channels.begin * pixels;
  const float* weights_cdp = step.parameters.value(weights_) + channels.begin * dim * pixels;
  const float* biases_cd = step.parameters.value(biases_) + channels.begin * dim;
  const float* var_embed_cd = step.parameters.value(var_embed_) + channels.begin * dim;

  // Channel fastest: neighbouring tasks read and write neighbouring memory.
  const std::int64_t tasks = blocks_of(rows, kRowBlock) * count;
  parallel_for(tasks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t c = task % count;
      const std::int64_t first = task / count * kRowBlock;
      const std::int64_t block = std::min(kRowBlock, rows - first);
      float* out = tokens_rcd + (first * count + c) * dim;
      for (std::int64_t r = 0; r < block; ++r) {
        float* token = out + r * count * dim;
        for (std::int64_t d = 0; d < dim; ++d) {
          token[d] = biases_cd[c * dim + d] + var_embed_cd[c * dim + d];
        }
      }
      ops::gemm_serial(ops::Transpose::no, ops::Transpose::yes, block, dim, pixels, 1,
                       patches_rcp + first * row_pixels + c * pixels, row_pixels,
                       weights_cdp + c * dim * pixels, pixels, 1, out, count * dim);
    }
  });
}

void Tokenizer::backward(Step& step, Parameters& parameters) const {
  for (const ChannelPatches::TokenGradient& gradient : step.channels.d_tokens) {
    tokens_backward(step, parameters, gradient.channels, gradient.d_rcd);
  }
}

void Tokenizer::tokens_backward(const Step& step, Parameters& parameters, Range channels,
                                const float* d_tokens_rcd) const {
  const std::int64_t rows = step.batch() * plan_.num_visible, count = channels.size();
  const std::int64_t pixels = plan_.patch_pixels(), dim = plan_.dim;
  const std::int64_t row_pixels = plan_.channels() * pixels;
  const float* patches_rcp = step.channels.patches_bncp.data<float>() + channels.begin * pixels;
  float* d_weights_cdp = parameters.gradient(weights_) + channels.begin * dim * pixels;
  float* d_biases_cd = parameters.gradient(biases_) + channels.begin * dim;
  float* d_var_embed_cd = parameters.gradient(var_embed_) + channels.begin * dim;

  const std::int64_t column_blocks = blocks_of(dim, kColumnBlock);
  parallel_for(count * column_blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t c = task / column_blocks;
      const std::int64_t first = task % column_blocks * kColumnBlock;
      const std::int64_t columns = std::min(kColumnBlock, dim - first);
      const std::int64_t at = c * dim + first;
      const float* d_tokens = d_tokens_rcd + at;
      ops::gemm_serial(ops::Transpose::yes, ops::Transpose::no, columns, pixels, rows, 1, d_tokens,
                       count * dim, patches_rcp + c * pixels, row_pixels, 1,
                       d_weights_cdp + at * pixels, pixels);
      float sum[kColumnBlock] = {};
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t d = 0; d < columns; ++d) sum[d] += d_tokens[r * count * dim + d];
      }
      for (std::int64_t d = 0; d < columns; ++d) {
        d_biases_cd[at + d] += sum[d];
        d_var_embed_cd[at + d] += sum[d];
      }
    }
  });
}

LayerMemory Tokenizer::memory(std::int64_t batch, bool /*training*/) const {
  if (!plan_.forms_tokens) return {};
  return {.saved =
              arena_bytes(batch * plan_.num_visible * plan_.channels() * plan_.patch_pixels())};
}

std::int64_t Tokenizer::flops(std::int64_t batch) const {
  if (!plan_.forms_tokens) return 0;
  const std::int64_t rows = batch * plan_.num_visible * plan_.channels();
  return 2 * 2 * rows * plan_.patch_pixels() * plan_.dim;  // the pixels need no gradient
}

std::vector<Output> Tokenizer::outputs(const Step& step) const {
  Tensor patches_bncp =
      Tensor::empty({step.batch(), plan_.num_visible, plan_.channels(), plan_.patch_pixels()});
  make_patches(step, patches_bncp.data<float>());
  return {{"patches", patches_bncp, plan_.all_channels(), plan_.channel_split(2)}};
}

}  // namespace trib::model
