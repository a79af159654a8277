#include "model/transformer.h"

#include <algorithm>
#include <optional>

#include "model/arena_count.h"
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

// As torch.linspace(0, rate, depth) in timm.
double drop_path_rate_of_block(const TransformerOptions& options, std::int64_t block) {
  if (options.depth < 2) return 0;
  return options.drop_path_rate * static_cast<double>(block) /
         static_cast<double>(options.depth - 1);
}

// The block that backward turns to after `block` (the norm: `depth`), -1 after the first: the one
// before or, where a segment ends, the first of the segment before, which is run again.
std::int64_t next_backward(std::int64_t block, std::int64_t depth, std::int64_t segment) {
  const bool is_first = segment > 0 && (block % segment == 0 || block == depth);
  return is_first && block > 0 ? (block - 1) / segment * segment : block - 1;
}

void enter_backward(const Parameters& parameters, int unit) {
  parameters.enter(unit, parameters.table().unit(unit).next_backward, Pass::backward);
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

// What attention and MLP start from.
const float* TransformerBlock::all_rows(StepArena& arena, const float* x_nd,
                                        std::int64_t rows) const {
  if (!is_sequence_parallel_) return x_nd;
  float* x_rd = arena.floats(rows * dim_);
  group_.all_gather_rows(x_rd, x_nd, rows, dim_);
  return x_rd;
}

// What attention and MLP end with: y_nd = rows n of (x W^T summed over the ranks, plus the bias).
void TransformerBlock::sum_to_own_rows(const RowParallelLinear& linear,
                                       const Parameters& parameters, StepArena& arena, float* y_nd,
                                       const float* x_ri, std::int64_t rows) const {
  if (!is_sequence_parallel_) return linear.forward(parameters, y_nd, x_ri, rows);
  const StepArena::Scope scope(arena);
  float* partial_rd = arena.floats(rows * dim_);
  linear.forward_partial(parameters, partial_rd, x_ri, rows);
  group_.reduce_scatter_rows(y_nd, partial_rd, rows, dim_);
  linear.add_bias(parameters, y_nd, own_rows(rows).size());
}

// The backward of all_rows: the ranks' gradients of rows n added up. Without sequence parallelism
// in place.
const float* TransformerBlock::sum_of_own_rows(StepArena& arena, float* dx_rd,
                                               std::int64_t rows) const {
  if (!is_sequence_parallel_) {
    group_.all_reduce(dx_rd, rows * dim_);
    return dx_rd;
  }
  float* dx_nd = arena.floats(own_rows(rows).size() * dim_);
  group_.reduce_scatter_rows(dx_nd, dx_rd, rows, dim_);
  return dx_nd;
}

void TransformerBlock::forward(const Parameters& parameters, StepArena& arena, Saved& saved,
                               float* out_nd, const float* x_nd, std::int64_t batch,
                               std::int64_t tokens, const DropKeys* drop) const {
  save(parameters, arena, saved, x_nd, batch, tokens, drop);
  const std::int64_t rows = batch * tokens;
  sum_to_own_rows(fc2_, parameters, arena, out_nd, saved.activated_rm, rows);
  mlp_dropout_.apply(drop, out_nd, out_nd, own_rows(rows), tokens, dim_);
  ops::add(out_nd, saved.middle_nd, own_rows(rows).size() * dim_);
}

void TransformerBlock::save(const Parameters& parameters, StepArena& arena, Saved& saved,
                            const float* x_nd, std::int64_t batch, std::int64_t tokens,
                            const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  saved.x_nd = x_nd;
  saved.norm1_nd = arena.floats(own * dim_);
  saved.mean1_n = arena.floats(own);
  saved.rstd1_n = arena.floats(own);
  saved.qkv_r3a = arena.floats(rows * 3 * own_width());
  saved.lse_bhn = arena.floats(rows * own_heads());
  saved.attended_ra = arena.floats(rows * own_width());
  saved.middle_nd = arena.floats(own * dim_);
  saved.norm2_nd = arena.floats(own * dim_);
  saved.mean2_n = arena.floats(own);
  saved.rstd2_n = arena.floats(own);
  saved.hidden_rm = arena.floats(rows * hidden_);
  saved.activated_rm = arena.floats(rows * hidden_);

  norm1_.forward(parameters, saved.norm1_nd, saved.mean1_n, saved.rstd1_n, x_nd, own);
  {
    const StepArena::Scope scope(arena);
    qkv_.forward(parameters, saved.qkv_r3a, all_rows(arena, saved.norm1_nd, rows), rows);
  }
  ops::attention_forward(saved.attended_ra, saved.lse_bhn, saved.qkv_r3a, batch, tokens,
                         own_heads(), head_dim());
  sum_to_own_rows(proj_, parameters, arena, saved.middle_nd, saved.attended_ra, rows);
  attention_dropout_.apply(drop, saved.middle_nd, saved.middle_nd, own_rows(rows), tokens, dim_);
  ops::add(saved.middle_nd, x_nd, own * dim_);

  norm2_.forward(parameters, saved.norm2_nd, saved.mean2_n, saved.rstd2_n, saved.middle_nd, own);
  {
    const StepArena::Scope scope(arena);
    fc1_.forward(parameters, saved.hidden_rm, all_rows(arena, saved.norm2_nd, rows), rows);
  }
  ops::gelu_forward(saved.activated_rm, saved.hidden_rm, rows * hidden_);
}

void TransformerBlock::backward(Parameters& parameters, StepArena& arena, const Saved& saved,
                                float* dx_nd, std::int64_t batch, std::int64_t tokens,
                                const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  const StepArena::Scope scope(arena);
  float* d_branch_rd = arena.floats(rows * dim_);
  {
    const StepArena::Scope mlp(arena);
    float* d_hidden_rm = arena.floats(rows * hidden_);
    const float* d_mlp_nd =
        mlp_dropout_.apply(drop, d_branch_rd, dx_nd, own_rows(rows), tokens, dim_);
    fc2_.backward(parameters, d_hidden_rm, all_rows(arena, d_mlp_nd, rows), saved.activated_rm,
                  rows);
    ops::gelu_backward(d_hidden_rm, nullptr, d_hidden_rm, saved.hidden_rm, rows * hidden_);
    fc1_.backward(parameters, d_branch_rd, d_hidden_rm, all_rows(arena, saved.norm2_nd, rows),
                  rows);
    norm2_.backward(parameters, dx_nd, sum_of_own_rows(arena, d_branch_rd, rows), saved.middle_nd,
                    saved.mean2_n, saved.rstd2_n, own, /*accumulate_dx=*/true);
  }
  float* d_qkv_r3a = arena.floats(rows * 3 * own_width());
  float* d_attended_ra = d_branch_rd;  // in use one after the other
  // Nobody reads norm2_nd any more.
  const float* d_attention_nd =
      attention_dropout_.apply(drop, saved.norm2_nd, dx_nd, own_rows(rows), tokens, dim_);
  proj_.backward(parameters, d_attended_ra, all_rows(arena, d_attention_nd, rows),
                 saved.attended_ra, rows);
  ops::attention_backward(d_qkv_r3a, d_attended_ra, saved.qkv_r3a, saved.attended_ra, saved.lse_bhn,
                          batch, tokens, own_heads(), head_dim());
  qkv_.backward(parameters, d_branch_rd, d_qkv_r3a, all_rows(arena, saved.norm1_nd, rows), rows);
  norm1_.backward(parameters, dx_nd, sum_of_own_rows(arena, d_branch_rd, rows), saved.x_nd,
                  saved.mean1_n, saved.rstd1_n, own, /*accumulate_dx=*/true);
}

LayerMemory TransformerBlock::memory(std::int64_t batch, std::int64_t tokens) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  const std::int64_t norm = arena_bytes(own * dim_, own, own);
  const std::int64_t attention =
      arena_bytes(rows * 3 * own_width(), rows * own_heads(), rows * own_width(), own * dim_);
  const std::int64_t gathered = is_sequence_parallel_ ? arena_bytes(rows * dim_) : 0;
  const std::int64_t own_sum = is_sequence_parallel_ ? arena_bytes(own * dim_) : 0;
  return {.saved = 2 * norm + attention + 2 * arena_bytes(rows * hidden_),
          .forward_scratch = gathered,
          .backward_scratch =
              arena_bytes(rows * dim_) + 2 * gathered + own_sum +
              std::max(arena_bytes(rows * hidden_), arena_bytes(rows * 3 * own_width()))};
}

std::int64_t TransformerBlock::flops(std::int64_t batch, std::int64_t tokens) const {
  const std::int64_t rows = batch * tokens;
  // Two products of N x N x d a head forward, five backward (the scores are computed again).
  const std::int64_t attention = 7 * 2 * rows * tokens * own_width();
  return attention + qkv_.flops(rows) + proj_.flops(rows) + fc1_.flops(rows) + fc2_.flops(rows);
}

Transformer::Transformer(ParameterTable& table, const std::string& prefix,
                         const TransformerOptions& options, const TensorGroup& group)
    : group_(group),
      dim_(options.dim),
      is_sequence_parallel_(options.sequence_parallel && !group.is_alone()),
      segment_(static_cast<std::size_t>(std::min(options.recompute, options.depth))),
      first_unit_(table.last_unit() + 1),
      blocks_([&] {
        const auto begin_unit = [&](const std::string& name, std::int64_t block) {
          const std::int64_t next = next_backward(block, options.depth, options.recompute);
          table.begin_unit(name, first_unit_ + static_cast<int>(next));
        };
        std::vector<TransformerBlock> blocks;
        for (std::int64_t i = 0; i < options.depth; ++i) {
          const std::string name = prefix + "blocks." + std::to_string(i);
          begin_unit(name, i);
          blocks.emplace_back(table, name, options, drop_path_rate_of_block(options, i), group);
        }
        begin_unit(prefix + "norm", options.depth);
        return blocks;
      }()),
      norm_(table, prefix + "norm", options.dim, is_sequence_parallel_) {}

Range Transformer::own_rows(std::int64_t rows) const {
  return is_sequence_parallel_ ? group_.own(rows) : Range{0, rows};
}

void Transformer::forward(const Parameters& parameters, StepArena& arena, Saved& saved, float* x_rd,
                          std::int64_t batch, std::int64_t tokens, bool training,
                          const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens;
  const Range own = own_rows(rows);
  saved.out_rd = arena.floats(rows * dim_);
  saved.mean_n = arena.floats(own.size());
  saved.rstd_n = arena.floats(own.size());
  saved.blocks.clear();
  saved.segments_x_nd.clear();
  const bool keeps_blocks = training && !recomputes();
  float* x_nd = x_rd + own.begin * dim_;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const bool begins_segment = training && recomputes() && i % segment_ == 0;
    if (begins_segment) saved.segments_x_nd.push_back(x_nd);
    float* out_nd = keeps_blocks || begins_segment ? arena.floats(own.size() * dim_) : x_nd;
    parameters.enter(unit_of_block(i), unit_of_block(i + 1), Pass::forward);
    std::optional<StepArena::Scope> scope;
    if (!keeps_blocks) scope.emplace(arena);
    TransformerBlock::Saved block;
    blocks_[i].forward(parameters, arena, block, out_nd, x_nd, batch, tokens, drop);
    if (keeps_blocks) saved.blocks.push_back(block);
    x_nd = out_nd;
  }
  saved.x_nd = x_nd;
  const int norm_unit = unit_of_block(blocks_.size());
  const bool is_last = norm_unit == parameters.table().last_unit();
  parameters.enter(norm_unit, is_last ? -1 : norm_unit + 1, Pass::forward);
  float* own_out_nd = saved.out_rd + own.begin * dim_;
  norm_.forward(parameters, own_out_nd, saved.mean_n, saved.rstd_n, x_nd, own.size());
  if (is_sequence_parallel_) group_.all_gather_rows(saved.out_rd, own_out_nd, rows, dim_);
}

// Run blocks [begin, end) again from the input of the first, for what their backward needs. Ends
// in the last block's unit.
std::vector<TransformerBlock::Saved> Transformer::run_again(const Parameters& parameters,
                                                            StepArena& arena, const float* x_nd,
                                                            std::size_t begin, std::size_t end,
                                                            std::int64_t batch, std::int64_t tokens,
                                                            const DropKeys* drop) const {
  std::vector<TransformerBlock::Saved> saved(end - begin);
  for (std::size_t i = begin; i + 1 < end; ++i) {
    float* out_nd = arena.floats(own_rows(batch * tokens).size() * dim_);
    parameters.enter(unit_of_block(i), unit_of_block(i + 1), Pass::forward);
    blocks_[i].forward(parameters, arena, saved[i - begin], out_nd, x_nd, batch, tokens, drop);
    x_nd = out_nd;
  }
  enter_backward(parameters, unit_of_block(end - 1));
  blocks_[end - 1].save(parameters, arena, saved.back(), x_nd, batch, tokens, drop);
  return saved;
}

void Transformer::backward(Parameters& parameters, StepArena& arena, const Saved& saved,
                           float* dx_rd, std::int64_t batch, std::int64_t tokens,
                           const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens;
  const Range own = own_rows(rows);
  float* dx_nd = dx_rd + own.begin * dim_;
  norm_.backward(parameters, dx_nd, dx_nd, saved.x_nd, saved.mean_n, saved.rstd_n, own.size(),
                 /*accumulate_dx=*/false);
  // One of these loops is empty.
  for (std::size_t i = saved.blocks.size(); i-- > 0;) {
    enter_backward(parameters, unit_of_block(i));
    blocks_[i].backward(parameters, arena, saved.blocks[i], dx_nd, batch, tokens, drop);
  }
  for (std::size_t s = saved.segments_x_nd.size(); s-- > 0;) {
    const StepArena::Scope scope(arena);
    const std::size_t begin = s * segment_, end = std::min(begin + segment_, blocks_.size());
    const auto blocks =
        run_again(parameters, arena, saved.segments_x_nd[s], begin, end, batch, tokens, drop);
    for (std::size_t i = end; i-- > begin;) {
      if (i + 1 < end) enter_backward(parameters, unit_of_block(i));
      blocks_[i].backward(parameters, arena, blocks[i - begin], dx_nd, batch, tokens, drop);
    }
  }
  enter_backward(parameters, first_unit_ - 1);
  if (is_sequence_parallel_) group_.all_gather_rows(dx_rd, dx_nd, rows, dim_);
}

LayerMemory Transformer::memory(std::int64_t batch, std::int64_t tokens, bool training) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  LayerMemory memory;
  memory.saved = arena_bytes(rows * dim_, own, own);
  if (blocks_.empty()) return memory;
  const LayerMemory block = blocks_.front().memory(batch, tokens);
  const std::int64_t x = arena_bytes(own * dim_);
  const auto depth = static_cast<std::int64_t>(blocks_.size());
  if (training && !recomputes()) {
    memory.saved += depth * (block.saved + x);
    memory.forward_scratch = block.forward_scratch;
    memory.backward_scratch = block.backward_scratch;
    return memory;
  }
  memory.forward_scratch = block.saved + block.forward_scratch;
  if (!training) return memory;
  const auto segment = static_cast<std::int64_t>(segment_);
  memory.saved += (depth + segment - 1) / segment * x;
  // Of the blocks run again, all outputs but the last.
  memory.backward_scratch = segment * block.saved + (segment - 1) * x +
                            std::max(block.forward_scratch, block.backward_scratch);
  return memory;
}

std::int64_t Transformer::flops(std::int64_t batch, std::int64_t tokens) const {
  std::int64_t total = 0;
  for (const TransformerBlock& block : blocks_) total += block.flops(batch, tokens);
  return total;
}

}  // namespace trib::model
