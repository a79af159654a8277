// A pre-norm transformer block as timm's: x += attn(norm1(x)); x += mlp(norm2(x)).
//
// Axes: b sample, n token, h head, r row (b x n), d dim, m hidden dim of the MLP.
#pragma once

#include <cstdint>
#include <string>

#include "model/dropout.h"
#include "model/model.h"
#include "model/modules.h"
#include "model/parallel/row_parallel_linear.h"
#include "model/parallel/tensor_group.h"
#include "ops/base/step_arena.h"

namespace trib::model {

struct TransformerOptions {
  std::int64_t dim = 0;
  std::int64_t depth = 0;
  std::int64_t heads = 0;
  double mlp_ratio = 4;
  double drop_rate = 0;  ///< of the elements that an attention or an MLP gives
  /// Of the samples whose attention or MLP is left out, in the last block; from 0 in the first it
  /// rises linearly.
  double drop_path_rate = 0;
  /// Between the attentions and MLPs, which need all rows, each rank works on rows of its own
  /// (Korthikanti et al., 2022). Saves memory, sends as much as without.
  bool sequence_parallel = false;
  /// In training: the blocks of a segment (the last one may have fewer). Of each segment only the
  /// input is kept; backward runs its forward again (Chen et al., 2016). Same results, to the bit.
  /// 0: what blocks need for backward is kept.
  std::int64_t recompute = 0;
};

/// One block: norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2. The ranks of the tensor group
/// share the heads and the hidden dims of the MLP.
///
/// Rows marked n are those this rank works on outside of attention and MLP: all of them, or the own
/// ones under sequence parallelism. a is the width of this rank's heads.
class TransformerBlock {
 public:
  /// What backward needs, in the step arena: all else follows from it at little cost. Of the type
  /// of the products' operands, unless float.
  struct Saved {
    FloatPtr x_hat1_nd;  // normalised input
    float* rstd1_n;
    FloatPtr qkv_r3a;
    float* lse_bhn;
    FloatPtr attended_ra;
    FloatPtr x_hat2_nd;  // normalised sum of input and attention
    float* rstd2_n;
    FloatPtr hidden_rm;  // before the GELU
  };

  TransformerBlock(ParameterTable& table, const std::string& name,
                   const TransformerOptions& options, double drop_path_rate,
                   const TensorGroup& group);

  /// Room for what backward needs; unless `training`, for what forward alone needs of it.
  Saved room(StepArena& arena, std::int64_t batch, std::int64_t tokens, bool training) const;
  /// The residual stream x_nd becomes the block's output. Without keys nothing is dropped.
  void forward(const Parameters& parameters, StepArena& arena, const Saved& saved, float* x_nd,
               std::int64_t batch, std::int64_t tokens, const DropKeys* drop) const;
  /// The part of forward that backward needs; x_nd is left without the MLP's part.
  void save(const Parameters& parameters, StepArena& arena, const Saved& saved, float* x_nd,
            std::int64_t batch, std::int64_t tokens, const DropKeys* drop) const;
  /// dx_nd holds the gradient by the output on entry, by the input on return. Takes the keys of
  /// forward; uses up what is saved.
  void backward(Parameters& parameters, StepArena& arena, const Saved& saved, float* dx_nd,
                std::int64_t batch, std::int64_t tokens, const DropKeys* drop) const;

  /// Bytes of room(), taken beyond them by forward, and by backward.
  LayerMemory memory(std::int64_t batch, std::int64_t tokens, bool training) const;
  /// Bytes that save takes beyond room().
  std::int64_t save_scratch(std::int64_t batch, std::int64_t tokens, bool training) const;
  /// Of forward plus backward, save not included.
  std::int64_t flops(std::int64_t batch, std::int64_t tokens) const;
  /// The rows n of `rows`.
  Range own_rows(std::int64_t rows) const;

 private:
  std::int64_t head_dim() const { return dim_ / heads_; }
  std::int64_t own_heads() const { return group_.own(heads_).size(); }
  std::int64_t own_width() const { return own_heads() * head_dim(); }
  bool is_bf16() const { return operand_ == DType::bf16; }
  template <class... Counts>
  std::int64_t operand_bytes(Counts... counts) const;
  std::int64_t branch_bytes(std::int64_t rows, bool training) const;
  /// Whether what attention and MLP give must be worked on before it joins the residual stream.
  bool has_branches(bool training) const { return !group_.is_alone() || (training && may_drop_); }
  void attend(const Parameters& parameters, StepArena& arena, const Saved& saved, float* x_nd,
              FloatPtr y2_nd, std::int64_t batch, std::int64_t tokens, const DropKeys* drop) const;
  float* branch(const RowParallelLinear& linear, const Dropout& dropout,
                const Parameters& parameters, StepArena& arena, float* x_nd, ConstFloatPtr in_ri,
                std::int64_t rows, std::int64_t tokens, const DropKeys* drop) const;
  ConstFloatPtr branch_gradient(StepArena& arena, const float* dx_nd, const Dropout& dropout,
                                std::int64_t rows, std::int64_t tokens, const DropKeys* drop) const;
  ConstFloatPtr all_rows(StepArena& arena, FloatPtr x_nd, std::int64_t rows) const;
  void norm_backward(const LayerNorm& norm, const Linear& linear, Parameters& parameters,
                     StepArena& arena, float* dx_nd, ConstFloatPtr d_out_ro, ConstFloatPtr x_hat_nd,
                     const float* rstd_n, std::int64_t rows) const;

  const TensorGroup& group_;
  std::int64_t dim_, heads_, hidden_;  // hidden_: of this rank
  bool is_sequence_parallel_;
  bool may_drop_;
  DType operand_;
  LayerNorm norm1_;
  Linear qkv_;
  RowParallelLinear proj_;
  Dropout attention_dropout_;
  LayerNorm norm2_;
  Linear fc1_;
  RowParallelLinear fc2_;
  Dropout mlp_dropout_;
};

}  // namespace trib::model
