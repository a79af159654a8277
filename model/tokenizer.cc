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
                          .shape = {plan.channels(), plan.dim, 1, plan.patch, plan.patch},
                          .init = Init::xavier_uniform})),
      biases_(table.add({.name = "token_embeds.proj_biases",
                         .shape = {plan.channels(), plan.dim},
                         .decay = false})),
      var_embed_(table.add({.name = "var_embed",
                            .shape = {1, plan.channels(), plan.dim},
                            .init = Init::sincos_1d,
                            .decay = false})) {}

void Tokenizer::forward(Step& step) const {
  Tensor& patches = step.channels.patches_bncp;
  patches =
      step.arena.tensor({step.batch(), plan_.num_visible, plan_.channels(), plan_.patch_pixels()});
  float* patches_bncp = patches.data<float>();
  ops::patchify_channels(patches_bncp, step.input.x_bchw.data<float>(),
                         step.masking.visible_or_null(), plan_.num_visible, step.batch(),
                         plan_.channels(), plan_.input.height, plan_.input.width, plan_.patch);
  parallel_for(patches.numel(), 1 << 15, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      patches_bncp[i] = std::isnan(patches_bncp[i]) ? 0.0F : patches_bncp[i];
    }
  });
}

void Tokenizer::tokens(const Step& step, float* tokens_bncd) const {
  const std::int64_t rows = step.batch() * plan_.num_visible;
  const std::int64_t channels = plan_.channels(), pixels = plan_.patch_pixels(), dim = plan_.dim;
  const float* patches_rcp = step.channels.patches_bncp.data<float>();
  const float* weights_cdp = step.parameters.value(weights_);
  const float* biases_cd = step.parameters.value(biases_);
  const float* var_embed_cd = step.parameters.value(var_embed_);

  // Channel fastest: neighbouring tasks read and write neighbouring memory.
  const std::int64_t tasks = blocks_of(rows, kRowBlock) * channels;
  parallel_for(tasks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t c = task % channels;
      const std::int64_t first = task / channels * kRowBlock;
      const std::int64_t count = std::min(kRowBlock, rows - first);
      float* out = tokens_bncd + (first * channels + c) * dim;
      for (std::int64_t r = 0; r < count; ++r) {
        float* token = out + r * channels * dim;
        for (std::int64_t d = 0; d < dim; ++d) {
          token[d] = biases_cd[c * dim + d] + var_embed_cd[c * dim + d];
        }
      }
      ops::gemm_serial(ops::Transpose::no, ops::Transpose::yes, count, dim, pixels, 1,
                       patches_rcp + (first * channels + c) * pixels, channels * pixels,
                       weights_cdp + c * dim * pixels, pixels, 1, out, channels * dim);
    }
  });
}

void Tokenizer::backward(Step& step, Parameters& parameters) const {
  if (!step.channels.d_tokens_bncd.defined()) return;
  const std::int64_t rows = step.batch() * plan_.num_visible;
  const std::int64_t channels = plan_.channels(), pixels = plan_.patch_pixels(), dim = plan_.dim;
  const float* patches_rcp = step.channels.patches_bncp.data<float>();
  const float* d_tokens_rcd = step.channels.d_tokens_bncd.data<float>();
  float* d_weights_cdp = parameters.gradient(weights_);
  float* d_biases_cd = parameters.gradient(biases_);
  float* d_var_embed_cd = parameters.gradient(var_embed_);

  const std::int64_t column_blocks = blocks_of(dim, kColumnBlock);
  parallel_for(channels * column_blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t c = task / column_blocks;
      const std::int64_t first = task % column_blocks * kColumnBlock;
      const std::int64_t count = std::min(kColumnBlock, dim - first);
      const std::int64_t at = c * dim + first;
      const float* d_tokens = d_tokens_rcd + at;
      ops::gemm_serial(ops::Transpose::yes, ops::Transpose::no, count, pixels, rows, 1, d_tokens,
                       channels * dim, patches_rcp + c * pixels, channels * pixels, 1,
                       d_weights_cdp + at * pixels, pixels);
      float sum[kColumnBlock] = {};
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t d = 0; d < count; ++d) sum[d] += d_tokens[r * channels * dim + d];
      }
      for (std::int64_t d = 0; d < count; ++d) {
        d_biases_cd[at + d] += sum[d];
        d_var_embed_cd[at + d] += sum[d];
      }
    }
  });
}

LayerMemory Tokenizer::memory(std::int64_t batch, bool /*training*/) const {
  return {.saved =
              arena_bytes(batch * plan_.num_visible * plan_.channels() * plan_.patch_pixels())};
}

std::int64_t Tokenizer::flops(std::int64_t batch) const {
  if (!plan_.forms_tokens) return 0;
  const std::int64_t rows = batch * plan_.num_visible * plan_.channels();
  return 2 * 2 * rows * plan_.patch_pixels() * plan_.dim;  // the pixels need no gradient
}

std::vector<std::pair<std::string, Tensor>> Tokenizer::outputs(const Step& step) const {
  return {{"patches", step.channels.patches_bncp}};
}

}  // namespace trib::model
