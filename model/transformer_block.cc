#include "model/transformer_block.h"

#include <algorithm>

#include "model/arena_count.h"
#include "model/parallel/sum_over_ranks.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/attention.h"

namespace trib::model {
namespace {

std::int64_t hidden_dim(const TransformerOptions& options) {
  return static_cast<std::int64_t>(static_cast<double>(options.dim) * options.mlp_ratio);
}

// The rows of a group of equal runs that belong to a rank's heads or hidden dims.
TensorSplit split_rows(const TensorGroup& group, std::int64_t groups, Range own) {
  return group.is_alone() ? TensorSplit{} : TensorSplit{0, groups, {own}};
}

Range own_head_rows(const TransformerOptions& options, const TensorGroup& group) {
  const Range heads = group.own(options.heads);
  const std::int64_t head_dim = options.dim / options.heads;
  return {heads.begin * head_dim, heads.end * head_dim};
}

}  // namespace

TransformerBlock::TransformerBlock(ParameterTable& table, const std::string& name,
                                   const TransformerOptions& options, double drop_path_rate,
                                   const TensorGroup& group)
    : group_(group),
      dim_(options.dim),
      heads_(options.heads),
      hidden_(group.own(hidden_dim(options)).size()),
      is_sequence_parallel_(options.sequence_parallel && !group.is_alone()),
      may_drop_(options.drop_rate > 0 || options.drop_path_rate > 0),
      operand_(operand_type(table.precision())),
      norm1_(table, name + ".norm1", dim_, is_sequence_parallel_),
      qkv_(table, name + ".attn.qkv", dim_, 3 * dim_,
           {.split = split_rows(group, 3, own_head_rows(options, group))}),
      proj_(table, name + ".attn.proj", dim_, dim_, {own_head_rows(options, group)}, group),
      attention_dropout_(name + ".attn", options.drop_rate, drop_path_rate),
      norm2_(table, name + ".norm2", dim_, is_sequence_parallel_),
      fc1_(table, name + ".mlp.fc1", dim_, hidden_dim(options),
           {.split = split_rows(group, 1, group.own(hidden_dim(options)))}),
      fc2_(table, name + ".mlp.fc2", hidden_dim(options), dim_, {group.own(hidden_dim(options))},
           group),
      mlp_dropout_(name + ".mlp", options.drop_rate, drop_path_rate) {}

Range TransformerBlock::own_rows(std::int64_t rows) const {
  return is_sequence_parallel_ ? group_.own(rows) : Range{0, rows};
}

TransformerBlock::Saved TransformerBlock::room(StepArena& arena, std::int64_t batch,
                                               std::int64_t tokens, bool training) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  Saved saved;
  saved.qkv_r3a = arena.floats(rows * 3 * own_width(), operand_);
  saved.lse_bhn = arena.floats(rows * own_heads());
  saved.attended_ra = arena.floats(rows * own_width(), operand_);
  saved.hidden_rm = arena.floats(rows * hidden_, operand_);
  saved.rstd1_n = saved.rstd2_n = nullptr;
  if (!training) return saved;
  saved.x_hat1_nd = arena.floats(own * dim_, operand_);
  saved.x_hat2_nd = arena.floats(own * dim_, operand_);
  saved.rstd1_n = arena.floats(own);
  saved.rstd2_n = arena.floats(own);
  return saved;
}

// What the linear maps of attention and MLP start from.
ConstFloatPtr TransformerBlock::all_rows(StepArena& arena, FloatPtr x_nd, std::int64_t rows) const {
  if (!is_sequence_parallel_) return x_nd;
  const FloatPtr x_rd = arena.floats(rows * dim_, x_nd.dtype());
  group_.all_gather_rows(x_rd, x_nd, rows, dim_);
  return x_rd;
}

// What attention and MLP end with: x_nd += dropout(in W^T summed over the ranks, plus the bias),
// where that can be part of the product; else the summand, which is left to the caller.
float* TransformerBlock::branch(const RowParallelLinear& linear, const Dropout& dropout,
                                const Parameters& parameters, StepArena& arena, float* x_nd,
                                ConstFloatPtr in_ri, std::int64_t rows, std::int64_t tokens,
                                const DropKeys* drop) const {
  if (!has_branches(drop != nullptr)) {
    linear.forward(parameters, x_nd, in_ri, rows, /*accumulate=*/true);
    return nullptr;
  }
  const Range own = own_rows(rows);
  float* branch_nd = arena.floats(own.size() * dim_);
  if (is_sequence_parallel_) {
    const StepArena::Scope scope(arena);
    float* partial_rd = arena.floats(rows * dim_);
    linear.forward_partial(parameters, partial_rd, in_ri, rows);
    group_.reduce_scatter_rows(branch_nd, partial_rd, rows, dim_);
    linear.add_bias(parameters, branch_nd, own.size());
  } else {
    linear.forward(parameters, branch_nd, in_ri, rows);
  }
  dropout.apply(drop, branch_nd, branch_nd, own, tokens, dim_);
  return branch_nd;
}

// y2_nd = norm2(x + attn(norm1(x))), x_nd becomes the sum.
void TransformerBlock::attend(const Parameters& parameters, StepArena& arena, const Saved& saved,
                              float* x_nd, FloatPtr y2_nd, std::int64_t batch, std::int64_t tokens,
                              const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  {
    const StepArena::Scope scope(arena);
    // The memory of the second norm's result serves the first one's before.
    norm1_.forward(parameters, y2_nd, saved.x_hat1_nd, saved.rstd1_n, x_nd, nullptr, own);
    qkv_.forward(parameters, saved.qkv_r3a, all_rows(arena, y2_nd, rows), rows);
  }
  ops::attention_forward(saved.attended_ra, saved.lse_bhn, saved.qkv_r3a, batch, tokens,
                         own_heads(), head_dim());
  const StepArena::Scope scope(arena);
  const float* branch_nd = branch(proj_, attention_dropout_, parameters, arena, x_nd,
                                  saved.attended_ra, rows, tokens, drop);
  norm2_.forward(parameters, y2_nd, saved.x_hat2_nd, saved.rstd2_n, x_nd, branch_nd, own);
}

void TransformerBlock::forward(const Parameters& parameters, StepArena& arena, const Saved& saved,
                               float* x_nd, std::int64_t batch, std::int64_t tokens,
                               const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  const StepArena::Scope scope(arena);
  const FloatPtr y2_nd = arena.floats(own * dim_, operand_);
  attend(parameters, arena, saved, x_nd, y2_nd, batch, tokens, drop);
  const FloatPtr activated_rm = arena.floats(rows * hidden_, operand_);
  {
    const StepArena::Scope mlp(arena);
    fc1_.forward_gelu(parameters, activated_rm, saved.hidden_rm, all_rows(arena, y2_nd, rows),
                      rows);
  }
  const float* branch_nd =
      branch(fc2_, mlp_dropout_, parameters, arena, x_nd, activated_rm, rows, tokens, drop);
  if (branch_nd != nullptr) ops::add(x_nd, branch_nd, own * dim_);
}

void TransformerBlock::save(const Parameters& parameters, StepArena& arena, const Saved& saved,
                            float* x_nd, std::int64_t batch, std::int64_t tokens,
                            const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens;
  const StepArena::Scope scope(arena);
  const FloatPtr y2_nd = arena.floats(own_rows(rows).size() * dim_, operand_);
  attend(parameters, arena, saved, x_nd, y2_nd, batch, tokens, drop);
  fc1_.forward(parameters, saved.hidden_rm, all_rows(arena, y2_nd, rows), rows);
}

// The gradient by what a branch's last linear map gives, for all rows, as its products take it.
ConstFloatPtr TransformerBlock::branch_gradient(StepArena& arena, const float* dx_nd,
                                                const Dropout& dropout, std::int64_t rows,
                                                std::int64_t tokens, const DropKeys* drop) const {
  const Range own = own_rows(rows);
  if (may_drop_) {
    float* dropped_nd = arena.floats(own.size() * dim_);
    dx_nd = dropout.apply(drop, dropped_nd, dx_nd, own, tokens, dim_);
  }
  if (!is_bf16() && !is_sequence_parallel_) return dx_nd;
  const FloatPtr d_rd = arena.floats(rows * dim_, operand_);
  const FloatPtr own_d_nd = d_rd + own.begin * dim_;
  ops::convert(own_d_nd, dx_nd, own.size() * dim_);
  if (is_sequence_parallel_) group_.all_gather_rows(d_rd, own_d_nd, rows, dim_);
  return d_rd;
}

// Back from the gradient by what `linear` gives, through it and the norm before it, onto dx_nd.
void TransformerBlock::norm_backward(const LayerNorm& norm, const Linear& linear,
                                     Parameters& parameters, StepArena& arena, float* dx_nd,
                                     ConstFloatPtr d_out_ro, ConstFloatPtr x_hat_nd,
                                     const float* rstd_n, std::int64_t rows) const {
  const std::int64_t own = own_rows(rows).size();
  const StepArena::Scope scope(arena);
  const FloatPtr y_nd = arena.floats(own * dim_, operand_);
  norm.forward_again(parameters, y_nd, x_hat_nd, own);
  const FloatPtr dy_nd = y_nd;
  {
    const StepArena::Scope gathered(arena);
    linear.backward_weight(parameters, d_out_ro, all_rows(arena, y_nd, rows), rows);
  }
  if (is_sequence_parallel_) {
    float* summand_rd = arena.floats(rows * dim_);
    linear.backward_input(parameters, summand_rd, d_out_ro, rows);
    float* sum_nd = is_bf16() ? arena.floats(own * dim_) : dy_nd.as<float>();
    group_.reduce_scatter_rows(sum_nd, summand_rd, rows, dim_);
    if (is_bf16()) ops::convert(dy_nd, sum_nd, own * dim_);
  } else {
    sum_over_ranks(group_, arena, dy_nd, own * dim_, [&](FloatPtr summand_rd) {
      linear.backward_input(parameters, summand_rd, d_out_ro, rows);
    });
  }
  norm.backward(parameters, dx_nd, dy_nd, x_hat_nd, rstd_n, own, /*accumulate_dx=*/true);
}

void TransformerBlock::backward(Parameters& parameters, StepArena& arena, const Saved& saved,
                                float* dx_nd, std::int64_t batch, std::int64_t tokens,
                                const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens;
  {
    const StepArena::Scope mlp(arena);
    const FloatPtr d_hidden_rm = arena.floats(rows * hidden_, operand_);
    {
      const StepArena::Scope scope(arena);
      const ConstFloatPtr d_mlp_rd =
          branch_gradient(arena, dx_nd, mlp_dropout_, rows, tokens, drop);
      fc2_.backward_input(parameters, d_hidden_rm, d_mlp_rd, rows);
      const FloatPtr activated_rm = saved.hidden_rm;  // in its place
      ops::gelu_backward(d_hidden_rm, activated_rm, d_hidden_rm, saved.hidden_rm, rows * hidden_);
      fc2_.backward_weight(parameters, d_mlp_rd, activated_rm, rows);
    }
    norm_backward(norm2_, fc1_, parameters, arena, dx_nd, d_hidden_rm, saved.x_hat2_nd,
                  saved.rstd2_n, rows);
  }
  const StepArena::Scope attention(arena);
  const FloatPtr d_qkv_r3a = arena.floats(rows * 3 * own_width(), operand_);
  {
    const StepArena::Scope scope(arena);
    const FloatPtr d_attended_ra = arena.floats(rows * own_width(), operand_);
    const ConstFloatPtr d_attn_rd =
        branch_gradient(arena, dx_nd, attention_dropout_, rows, tokens, drop);
    proj_.backward_input(parameters, d_attended_ra, d_attn_rd, rows);
    proj_.backward_weight(parameters, d_attn_rd, saved.attended_ra, rows);
    ops::attention_backward(d_qkv_r3a, d_attended_ra, saved.qkv_r3a, saved.attended_ra,
                            saved.lse_bhn, batch, tokens, own_heads(), head_dim());
  }
  norm_backward(norm1_, qkv_, parameters, arena, dx_nd, d_qkv_r3a, saved.x_hat1_nd, saved.rstd1_n,
                rows);
}

template <class... Counts>
std::int64_t TransformerBlock::operand_bytes(Counts... counts) const {
  return arena_bytes_of(static_cast<std::int64_t>(size_of(operand_)), counts...);
}

std::int64_t TransformerBlock::branch_bytes(std::int64_t rows, bool training) const {
  if (!has_branches(training)) return 0;
  return arena_bytes(own_rows(rows).size() * dim_, is_sequence_parallel_ ? rows * dim_ : 0);
}

std::int64_t TransformerBlock::save_scratch(std::int64_t batch, std::int64_t tokens,
                                            bool training) const {
  const std::int64_t rows = batch * tokens;
  const std::int64_t gathered = is_sequence_parallel_ ? operand_bytes(rows * dim_) : 0;
  return operand_bytes(own_rows(rows).size() * dim_) +
         std::max(gathered, branch_bytes(rows, training));
}

LayerMemory TransformerBlock::memory(std::int64_t batch, std::int64_t tokens, bool training) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  LayerMemory memory;
  memory.saved = operand_bytes(rows * 3 * own_width(), rows * own_width(), rows * hidden_) +
                 arena_bytes(rows * own_heads());
  memory.forward_scratch = save_scratch(batch, tokens, training) + operand_bytes(rows * hidden_);
  if (!training) return memory;
  memory.saved += operand_bytes(own * dim_, own * dim_) + arena_bytes(own, own);

  const bool divides_rows = is_sequence_parallel_;
  const std::int64_t gathered = divides_rows ? operand_bytes(rows * dim_) : 0;
  const std::int64_t branch_gradient = (may_drop_ ? arena_bytes(own * dim_) : 0) +
                                       (is_bf16() || divides_rows ? operand_bytes(rows * dim_) : 0);
  const std::int64_t summands =
      (divides_rows || (is_bf16() && !group_.is_alone()) ? arena_bytes(rows * dim_) : 0) +
      (divides_rows && is_bf16() ? arena_bytes(own * dim_) : 0);
  const std::int64_t norm = operand_bytes(own * dim_) + std::max(gathered, summands);
  memory.backward_scratch =
      std::max(operand_bytes(rows * hidden_) + std::max(branch_gradient, norm),
               operand_bytes(rows * 3 * own_width()) +
                   std::max(operand_bytes(rows * own_width()) + branch_gradient, norm));
  return memory;
}

std::int64_t TransformerBlock::flops(std::int64_t batch, std::int64_t tokens) const {
  const std::int64_t rows = batch * tokens;
  // Two products of N x N x d a head forward, five backward (the scores are computed again).
  const std::int64_t attention = 7 * 2 * rows * tokens * own_width();
  return attention + qkv_.flops(rows) + proj_.flops(rows) + fc1_.flops(rows) + fc2_.flops(rows);
}

}  // namespace trib::model
