#include "model/transformer.h"

#include <algorithm>

#include "model/arena_count.h"
#include "ops/kernels/activation.h"

namespace trib::model {
namespace {

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

void Transformer::forward(const Parameters& parameters, StepArena& arena, Saved& saved,
                          FloatPtr out_rd, float* x_rd, std::int64_t batch, std::int64_t tokens,
                          bool training, const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens;
  const Range own = own_rows(rows);
  saved.blocks.clear();
  saved.segments_x_nd.clear();
  saved.x_hat_nd = nullptr;
  saved.rstd_n = nullptr;
  if (training) {
    saved.x_hat_nd = arena.floats(own.size() * dim_, out_rd.dtype());
    saved.rstd_n = arena.floats(own.size());
  }
  const bool keeps_blocks = training && !recomputes();
  float* x_nd = x_rd + own.begin * dim_;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (training && recomputes() && i % segment_ == 0) {
      saved.segments_x_nd.push_back(arena.floats(own.size() * dim_));
      ops::convert(saved.segments_x_nd.back(), x_nd, own.size() * dim_);
    }
    parameters.enter(unit_of_block(i), unit_of_block(i + 1), Pass::forward);
    const StepArena::Mark mark = arena.mark();
    const TransformerBlock::Saved block = blocks_[i].room(arena, batch, tokens, training);
    blocks_[i].forward(parameters, arena, block, x_nd, batch, tokens, drop);
    if (keeps_blocks) {
      saved.blocks.push_back(block);
    } else {
      arena.release(mark);
    }
  }
  const int norm_unit = unit_of_block(blocks_.size());
  const bool is_last = norm_unit == parameters.table().last_unit();
  parameters.enter(norm_unit, is_last ? -1 : norm_unit + 1, Pass::forward);
  const FloatPtr own_out_nd = out_rd + own.begin * dim_;
  norm_.forward(parameters, own_out_nd, saved.x_hat_nd, saved.rstd_n, x_nd, nullptr, own.size());
  if (is_sequence_parallel_) group_.all_gather_rows(out_rd, own_out_nd, rows, dim_);
}

// Run blocks [begin, end) again from the input of the first, for what their backward needs. Ends
// in the last block's unit.
void Transformer::run_again(const Parameters& parameters, StepArena& arena,
                            std::vector<TransformerBlock::Saved>& saved, float* x_nd,
                            std::size_t begin, std::size_t end, std::int64_t batch,
                            std::int64_t tokens, const DropKeys* drop) const {
  saved.clear();
  for (std::size_t i = begin; i < end; ++i) {
    saved.push_back(blocks_[i].room(arena, batch, tokens, /*training=*/true));
    if (i + 1 < end) {
      parameters.enter(unit_of_block(i), unit_of_block(i + 1), Pass::forward);
      blocks_[i].forward(parameters, arena, saved.back(), x_nd, batch, tokens, drop);
    } else {
      enter_backward(parameters, unit_of_block(i));
      blocks_[i].save(parameters, arena, saved.back(), x_nd, batch, tokens, drop);
    }
  }
}

void Transformer::backward(Parameters& parameters, StepArena& arena, Saved& saved, float* dx_rd,
                           ConstFloatPtr d_out_rd, std::int64_t batch, std::int64_t tokens,
                           const DropKeys* drop) const {
  const std::int64_t rows = batch * tokens;
  const Range own = own_rows(rows);
  float* dx_nd = dx_rd + own.begin * dim_;
  norm_.backward(parameters, dx_nd, d_out_rd + own.begin * dim_, saved.x_hat_nd, saved.rstd_n,
                 own.size(), /*accumulate_dx=*/false);
  if (!recomputes()) {
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      enter_backward(parameters, unit_of_block(i));
      blocks_[i].backward(parameters, arena, saved.blocks[i], dx_nd, batch, tokens, drop);
    }
  }
  for (std::size_t s = saved.segments_x_nd.size(); s-- > 0;) {
    const StepArena::Scope scope(arena);
    const std::size_t begin = s * segment_, end = std::min(begin + segment_, blocks_.size());
    run_again(parameters, arena, saved.blocks, saved.segments_x_nd[s], begin, end, batch, tokens,
              drop);
    for (std::size_t i = end; i-- > begin;) {
      if (i + 1 < end) enter_backward(parameters, unit_of_block(i));
      blocks_[i].backward(parameters, arena, saved.blocks[i - begin], dx_nd, batch, tokens, drop);
    }
  }
  enter_backward(parameters, first_unit_ - 1);
  if (is_sequence_parallel_) group_.all_gather_rows(dx_rd, dx_nd, rows, dim_);
}

LayerMemory Transformer::memory(std::int64_t batch, std::int64_t tokens, DType out,
                                bool training) const {
  const std::int64_t rows = batch * tokens, own = own_rows(rows).size();
  LayerMemory memory;
  if (training) {
    const auto out_bytes = static_cast<std::int64_t>(size_of(out));
    memory.saved = arena_bytes_of(out_bytes, own * dim_) + arena_bytes(own);
  }
  if (blocks_.empty()) return memory;
  const LayerMemory block = blocks_.front().memory(batch, tokens, training);
  const auto depth = static_cast<std::int64_t>(blocks_.size());
  if (training && !recomputes()) {
    memory.saved += depth * block.saved;
    memory.forward_scratch = block.forward_scratch;
    memory.backward_scratch = block.backward_scratch;
    return memory;
  }
  memory.forward_scratch = block.saved + block.forward_scratch;
  if (!training) return memory;
  const auto segment = static_cast<std::int64_t>(segment_);
  memory.saved += (depth + segment - 1) / segment * arena_bytes(own * dim_);
  const std::int64_t save = blocks_.front().save_scratch(batch, tokens, training);
  memory.backward_scratch = segment * block.saved + std::max(save, block.backward_scratch);
  if (segment > 1) {
    memory.backward_scratch =
        std::max(memory.backward_scratch, (segment - 1) * block.saved + block.forward_scratch);
  }
  return memory;
}

std::int64_t Transformer::flops(std::int64_t batch, std::int64_t tokens) const {
  std::int64_t total = 0;
  for (const TransformerBlock& block : blocks_) total += block.flops(batch, tokens);
  return total;
}

}  // namespace trib::model
