// Transformer blocks and the norm after them, with blocks that backward runs again.
//
// Axes: b sample, n token, r row (b x n), d dim.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/transformer_block.h"

namespace trib::model {

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
    std::vector<TransformerBlock::Saved> blocks;  // with recompute those of the segment at hand
    std::vector<float*> segments_x_nd;            // the inputs of the segments, with recompute
    FloatPtr x_hat_nd;                            // of the last norm
    float* rstd_n;
  };

  Transformer(ParameterTable& table, const std::string& prefix, const TransformerOptions& options,
              const TensorGroup& group);

  /// x_rd is the residual stream, which is used up; the result goes to out_rd, float32 (under
  /// sequence parallelism) or bfloat16. Unless `training`, nothing is kept. Without keys nothing is
  /// dropped.
  void forward(const Parameters& parameters, StepArena& arena, Saved& saved, FloatPtr out_rd,
               float* x_rd, std::int64_t batch, std::int64_t tokens, bool training,
               const DropKeys* drop = nullptr) const;
  /// From the gradient d_out_rd by the output, of its type, to dx_rd by the input, which may be
  /// d_out_rd. Takes the keys of forward; uses up what is saved.
  void backward(Parameters& parameters, StepArena& arena, Saved& saved, float* dx_rd,
                ConstFloatPtr d_out_rd, std::int64_t batch, std::int64_t tokens,
                const DropKeys* drop = nullptr) const;

  /// For outputs of type `out`, whose memory is the caller's.
  LayerMemory memory(std::int64_t batch, std::int64_t tokens, DType out, bool training) const;
  /// Of forward plus backward; what is run again does not count.
  std::int64_t flops(std::int64_t batch, std::int64_t tokens) const;

 private:
  Range own_rows(std::int64_t rows) const;
  int unit_of_block(std::size_t block) const { return first_unit_ + static_cast<int>(block); }
  bool recomputes() const { return segment_ > 0; }
  void run_again(const Parameters& parameters, StepArena& arena,
                 std::vector<TransformerBlock::Saved>& saved, float* x_nd, std::size_t begin,
                 std::size_t end, std::int64_t batch, std::int64_t tokens,
                 const DropKeys* drop) const;

  const TensorGroup& group_;
  std::int64_t dim_;
  bool is_sequence_parallel_;
  std::size_t segment_;  // blocks of a segment that is run again; 0: none is
  int first_unit_;       // of the blocks; the norm's comes after theirs
  std::vector<TransformerBlock> blocks_;
  LayerNorm norm_;
};

}  // namespace trib::model
