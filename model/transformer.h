// Pre-norm transformer blocks as timm's: x += attn(norm1(x)); x += mlp(norm2(x)).
//
// Axes: b sample, n token, h head, r row (b x n), d dim, m hidden dim of the MLP.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
  /// What backward needs, in the step arena.
  struct Saved {
    const float* x_nd;
    float *norm1_nd, *mean1_n, *rstd1_n;
    float *qkv_r3a, *lse_bhn, *attended_ra;
    float* middle_nd;  // after the attention
    float *norm2_nd, *mean2_n, *rstd2_n;
    float *hidden_rm, *activated_rm;
  };

  TransformerBlock(ParameterTable& table, const std::string& name,
                   const TransformerOptions& options, double drop_path_rate,
                   const TensorGroup& group);

  /// out_nd may be x_nd if no backward follows. Without keys nothing is dropped.
  void forward(const Parameters& parameters, StepArena& arena, Saved& saved, float* out_nd,
               const float* x_nd, std::int64_t batch, std::int64_t tokens,
               const DropKeys* drop) const;
  /// The part of forward that backward needs: all but the output.
  void save(const Parameters& parameters, StepArena& arena, Saved& saved, const float* x_nd,
            std::int64_t batch, std::int64_t tokens, const DropKeys* drop) const;
  /// dx_nd holds the gradient by the output on entry, by the input on return. Takes the keys of
  /// forward; uses up what is saved.
  void backward(Parameters& parameters, StepArena& arena, const Saved& saved, float* dx_nd,
                std::int64_t batch, std::int64_t tokens, const DropKeys* drop) const;

  /// Bytes kept by forward or save, taken beyond them by either, and taken by backward.
  LayerMemory memory(std::int64_t batch, std::int64_t tokens) const;
  /// Of forward plus backward, save not included.
  std::int64_t flops(std::int64_t batch, std::int64_t tokens) const;
  /// The rows n of `rows`.
  Range own_rows(std::int64_t rows) const;

 private:
  std::int64_t head_dim() const { return dim_ / heads_; }
  std::int64_t own_heads() const { return group_.own(heads_).size(); }
  std::int64_t own_width() const { return own_heads() * head_dim(); }
  const float* all_rows(StepArena& arena, const float* x_nd, std::int64_t rows) const;
  void sum_to_own_rows(const RowParallelLinear& linear, const Parameters& parameters,
                       StepArena& arena, float* y_nd, const float* x_ri, std::int64_t rows) const;
  const float* sum_of_own_rows(StepArena& arena, float* dx_rd, std::int64_t rows) const;

  const TensorGroup& group_;
  std::int64_t dim_, heads_, hidden_;  // hidden_: of this rank
  bool is_sequence_parallel_;
  LayerNorm norm1_;
  Linear qkv_;
  RowParallelLinear proj_;
  Dropout attention_dropout_;
  LayerNorm norm2_;
  Linear fc1_;
  RowParallelLinear fc2_;
  Dropout mlp_dropout_;
};

/// Blocks `prefix`blocks.0 ... and the last norm `prefix`norm. Takes and gives replicated tokens.
///
/// Each block is a unit of parameters; the norm begins one, which whatever is registered after the
/// transformer joins. Forward enters the blocks in order and then the norm, backward the blocks in
/// reverse and then the unit before them. With `recompute`, backward goes through the segments in
/// reverse: it enters all blocks of one but the last in order, with Pass::forward, then all in
/// reverse, with Pass::backward (the last block is run again and backward in one stretch).
class Transformer {
 public:
  struct Saved {
    std::vector<TransformerBlock::Saved> blocks;  // none with recompute
    std::vector<const float*> segments_x_nd;      // the inputs of the segments, with recompute
    const float* x_nd;                            // before the last norm
    float *out_rd, *mean_n, *rstd_n;
  };

  Transformer(ParameterTable& table, const std::string& prefix, const TransformerOptions& options,
              const TensorGroup& group);

  /// Leaves the result in saved.out_rd. Unless `training`, x_rd is used as working memory and
  /// nothing is kept of the blocks. Without keys nothing is dropped.
  void forward(const Parameters& parameters, StepArena& arena, Saved& saved, float* x_rd,
               std::int64_t batch, std::int64_t tokens, bool training,
               const DropKeys* drop = nullptr) const;
  /// dx_rd holds the gradient by the output on entry, by the input on return. Takes the keys of
  /// forward; uses up what is saved.
  void backward(Parameters& parameters, StepArena& arena, const Saved& saved, float* dx_rd,
                std::int64_t batch, std::int64_t tokens, const DropKeys* drop = nullptr) const;

  LayerMemory memory(std::int64_t batch, std::int64_t tokens, bool training) const;
  /// Of forward plus backward; what is run again does not count.
  std::int64_t flops(std::int64_t batch, std::int64_t tokens) const;

 private:
  Range own_rows(std::int64_t rows) const;
  int unit_of_block(std::size_t block) const { return first_unit_ + static_cast<int>(block); }
  bool recomputes() const { return segment_ > 0; }
  std::vector<TransformerBlock::Saved> run_again(const Parameters& parameters, StepArena& arena,
                                                 const float* x_nd, std::size_t begin,
                                                 std::size_t end, std::int64_t batch,
                                                 std::int64_t tokens, const DropKeys* drop) const;

  const TensorGroup& group_;
  std::int64_t dim_;
  bool is_sequence_parallel_;
  std::size_t segment_;  // blocks of a segment that is run again; 0: none is
  int first_unit_;       // of the blocks; the norm's comes after theirs
  std::vector<TransformerBlock> blocks_;
  LayerNorm norm_;
};

}  // namespace trib::model
