#include "model/transformer.h"

#include <algorithm>
#include <optional>

#include "model/arena_count.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/attention.h"

namespace trib::model {

TransformerBlock::TransformerBlock(ParameterTable& table, const std::string& name,
                                   const TransformerOptions& options)
    : dim_(options.dim),
      heads_(options.heads),
      hidden_(static_cast<std::int64_t>(static_cast<double>(options.dim) * options.mlp_ratio)),
      norm1_(table, name + ".norm1", dim_),
      qkv_(table, name + ".attn.qkv", dim_, 3 * dim_),
      proj_(table, name + ".attn.proj", dim_, dim_),
      norm2_(table, name + ".norm2", dim_),
      fc1_(table, name + ".mlp.fc1", dim_, hidden_),
      fc2_(table, name + ".mlp.fc2", hidden_, dim_) {}

void TransformerBlock::forward(const Parameters& parameters, StepArena& arena, Saved& saved,
                               float* out_rd, const float* x_rd, std::int64_t batch,
                               std::int64_t tokens) const {
  const std::int64_t rows = batch * tokens;
  saved.x_rd = x_rd;

  saved.norm1_rd = arena.floats(rows * dim_);
  saved.mean1_r = arena.floats(rows);
  saved.rstd1_r = arena.floats(rows);
  norm1_.forward(parameters, saved.norm1_rd, saved.mean1_r, saved.rstd1_r, x_rd, rows);

  saved.qkv_r3d = arena.floats(rows * 3 * dim_);
  saved.lse_bhn = arena.floats(rows * heads_);
  saved.attended_rd = arena.floats(rows * dim_);
  qkv_.forward(parameters, saved.qkv_r3d, saved.norm1_rd, rows);
  ops::attention_forward(saved.attended_rd, saved.lse_bhn, saved.qkv_r3d, batch, tokens, heads_,
                         dim_ / heads_);

  saved.middle_rd = arena.floats(rows * dim_);
  proj_.forward(parameters, saved.middle_rd, saved.attended_rd, rows);
  ops::add(saved.middle_rd, x_rd, rows * dim_);

  saved.norm2_rd = arena.floats(rows * dim_);
  saved.mean2_r = arena.floats(rows);
  saved.rstd2_r = arena.floats(rows);
  norm2_.forward(parameters, saved.norm2_rd, saved.mean2_r, saved.rstd2_r, saved.middle_rd, rows);

  saved.hidden_rm = arena.floats(rows * hidden_);
  saved.activated_rm = arena.floats(rows * hidden_);
  fc1_.forward(parameters, saved.hidden_rm, saved.norm2_rd, rows);
  ops::gelu_forward(saved.activated_rm, saved.hidden_rm, rows * hidden_);
  fc2_.forward(parameters, out_rd, saved.activated_rm, rows);
  ops::add(out_rd, saved.middle_rd, rows * dim_);
}

void TransformerBlock::backward(Parameters& parameters, StepArena& arena, const Saved& saved,
                                float* dx_rd, std::int64_t batch, std::int64_t tokens) const {
  const std::int64_t rows = batch * tokens;
  const StepArena::Scope scope(arena);
  float* d_branch_rd = arena.floats(rows * dim_);
  {
    const StepArena::Scope mlp(arena);
    float* d_hidden_rm = arena.floats(rows * hidden_);
    fc2_.backward(parameters, d_hidden_rm, dx_rd, saved.activated_rm, rows);
    ops::gelu_backward(d_hidden_rm, d_hidden_rm, saved.hidden_rm, rows * hidden_);
    fc1_.backward(parameters, d_branch_rd, d_hidden_rm, saved.norm2_rd, rows);
    norm2_.backward(parameters, dx_rd, d_branch_rd, saved.middle_rd, saved.mean2_r, saved.rstd2_r,
                    rows, /*accumulate_dx=*/true);
  }
  float* d_qkv_r3d = arena.floats(rows * 3 * dim_);
  proj_.backward(parameters, d_branch_rd, dx_rd, saved.attended_rd, rows);
  ops::attention_backward(d_qkv_r3d, d_branch_rd, saved.qkv_r3d, saved.attended_rd, saved.lse_bhn,
                          batch, tokens, heads_, dim_ / heads_);
  qkv_.backward(parameters, d_branch_rd, d_qkv_r3d, saved.norm1_rd, rows);
  norm1_.backward(parameters, dx_rd, d_branch_rd, saved.x_rd, saved.mean1_r, saved.rstd1_r, rows,
                  /*accumulate_dx=*/true);
}

std::int64_t TransformerBlock::saved_bytes(std::int64_t batch, std::int64_t tokens) const {
  const std::int64_t rows = batch * tokens;
  const std::int64_t norm = arena_bytes(rows * dim_, rows, rows);
  const std::int64_t attention =
      arena_bytes(rows * 3 * dim_, rows * heads_, rows * dim_, rows * dim_);
  return 2 * norm + attention + 2 * arena_bytes(rows * hidden_);
}

std::int64_t TransformerBlock::backward_bytes(std::int64_t batch, std::int64_t tokens) const {
  const std::int64_t rows = batch * tokens;
  return arena_bytes(rows * dim_) +
         std::max(arena_bytes(rows * hidden_), arena_bytes(rows * 3 * dim_));
}

std::int64_t TransformerBlock::flops(std::int64_t batch, std::int64_t tokens) const {
  const std::int64_t rows = batch * tokens;
  // Two products of N x N x d a head forward, five backward (the scores are computed again).
  const std::int64_t attention = 7 * 2 * rows * tokens * dim_;
  return attention + qkv_.flops(rows) + proj_.flops(rows) + fc1_.flops(rows) + fc2_.flops(rows);
}

Transformer::Transformer(ParameterTable& table, const std::string& prefix,
                         const TransformerOptions& options)
    : dim_(options.dim),
      blocks_([&] {
        std::vector<TransformerBlock> blocks;
        for (std::int64_t i = 0; i < options.depth; ++i) {
          blocks.emplace_back(table, prefix + "blocks." + std::to_string(i), options);
        }
        return blocks;
      }()),
      norm_(table, prefix + "norm", options.dim) {}

void Transformer::forward(const Parameters& parameters, StepArena& arena, Saved& saved, float* x_rd,
                          std::int64_t batch, std::int64_t tokens, bool training) const {
  const std::int64_t rows = batch * tokens;
  saved.out_rd = arena.floats(rows * dim_);
  saved.mean_r = arena.floats(rows);
  saved.rstd_r = arena.floats(rows);
  saved.blocks.resize(blocks_.size());
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    std::optional<StepArena::Scope> scope;
    if (!training) scope.emplace(arena);
    float* out_rd = training ? arena.floats(rows * dim_) : x_rd;
    blocks_[i].forward(parameters, arena, saved.blocks[i], out_rd, x_rd, batch, tokens);
    x_rd = out_rd;
  }
  saved.x_rd = x_rd;
  norm_.forward(parameters, saved.out_rd, saved.mean_r, saved.rstd_r, x_rd, rows);
}

void Transformer::backward(Parameters& parameters, StepArena& arena, const Saved& saved,
                           float* dx_rd, std::int64_t batch, std::int64_t tokens) const {
  norm_.backward(parameters, dx_rd, dx_rd, saved.x_rd, saved.mean_r, saved.rstd_r, batch * tokens,
                 /*accumulate_dx=*/false);
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    blocks_[i].backward(parameters, arena, saved.blocks[i], dx_rd, batch, tokens);
  }
}

LayerMemory Transformer::memory(std::int64_t batch, std::int64_t tokens, bool training) const {
  const std::int64_t rows = batch * tokens;
  LayerMemory memory;
  memory.saved = arena_bytes(rows * dim_, rows, rows);
  if (blocks_.empty()) return memory;
  const std::int64_t block = blocks_.front().saved_bytes(batch, tokens);
  if (training) {
    memory.saved += static_cast<std::int64_t>(blocks_.size()) * (block + arena_bytes(rows * dim_));
    memory.backward_scratch = blocks_.front().backward_bytes(batch, tokens);
  } else {
    memory.forward_scratch = block;
  }
  return memory;
}

std::int64_t Transformer::flops(std::int64_t batch, std::int64_t tokens) const {
  std::int64_t total = 0;
  for (const TransformerBlock& block : blocks_) total += block.flops(batch, tokens);
  return total;
}

}  // namespace trib::model
