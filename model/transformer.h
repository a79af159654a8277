// Pre-norm transformer blocks as timm's: x += attn(norm1(x)); x += mlp(norm2(x)).
//
// Axes: b sample, n token, h head, r row (b x n), d dim, m hidden dim of the MLP.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/modules.h"
#include "ops/base/step_arena.h"

namespace trib::model {

struct TransformerOptions {
  std::int64_t dim = 0;
  std::int64_t depth = 0;
  std::int64_t heads = 0;
  double mlp_ratio = 4;
};

/// One block: norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2.
class TransformerBlock {
 public:
  /// What backward needs, in the step arena.
  struct Saved {
    const float* x_rd;
    float *norm1_rd, *mean1_r, *rstd1_r;
    float *qkv_r3d, *lse_bhn, *attended_rd;
    float* middle_rd;  // after the attention
    float *norm2_rd, *mean2_r, *rstd2_r;
    float *hidden_rm, *activated_rm;
  };

  TransformerBlock(ParameterTable& table, const std::string& name,
                   const TransformerOptions& options);

  /// out_rd may be x_rd if no backward follows.
  void forward(const Parameters& parameters, StepArena& arena, Saved& saved, float* out_rd,
               const float* x_rd, std::int64_t batch, std::int64_t tokens) const;
  /// dx_rd holds the gradient by the output on entry, by the input on return.
  void backward(Parameters& parameters, StepArena& arena, const Saved& saved, float* dx_rd,
                std::int64_t batch, std::int64_t tokens) const;

  std::int64_t saved_bytes(std::int64_t batch, std::int64_t tokens) const;
  std::int64_t backward_bytes(std::int64_t batch, std::int64_t tokens) const;
  std::int64_t flops(std::int64_t batch, std::int64_t tokens) const;

 private:
  std::int64_t dim_, heads_, hidden_;
  LayerNorm norm1_;
  Linear qkv_, proj_;
  LayerNorm norm2_;
  Linear fc1_, fc2_;
};

/// Blocks `prefix`blocks.0 ... and the last norm `prefix`norm.
class Transformer {
 public:
  struct Saved {
    std::vector<TransformerBlock::Saved> blocks;
    const float* x_rd;  // before the last norm
    float *out_rd, *mean_r, *rstd_r;
  };

  Transformer(ParameterTable& table, const std::string& prefix, const TransformerOptions& options);

  /// Leaves the result in saved.out_rd. Unless `training`, x_rd is used as working memory and
  /// nothing is kept of the blocks.
  void forward(const Parameters& parameters, StepArena& arena, Saved& saved, float* x_rd,
               std::int64_t batch, std::int64_t tokens, bool training) const;
  /// dx_rd holds the gradient by the output on entry, by the input on return.
  void backward(Parameters& parameters, StepArena& arena, const Saved& saved, float* dx_rd,
                std::int64_t batch, std::int64_t tokens) const;

  LayerMemory memory(std::int64_t batch, std::int64_t tokens, bool training) const;
  std::int64_t flops(std::int64_t batch, std::int64_t tokens) const;

 private:
  std::int64_t dim_;
  std::vector<TransformerBlock> blocks_;
  LayerNorm norm_;
};

}  // namespace trib::model
