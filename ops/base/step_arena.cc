#include "ops/base/step_arena.h"

#include <algorithm>

namespace trib {
namespace {
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kSmallestBlock = std::size_t{1} << 20;
}  // namespace

StepArena::StepArena(std::size_t capacity_bytes, MemoryKind kind) : kind_(kind) {
  if (capacity_bytes > 0) blocks_.push_back(std::make_unique<Buffer>(capacity_bytes, kind_));
}

std::byte* StepArena::allocate(std::size_t bytes) {
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  while (block_ < blocks_.size() && offset_ + bytes > blocks_[block_]->size()) {
    ++block_;
    offset_ = 0;
  }
  if (block_ == blocks_.size()) {
    blocks_.push_back(std::make_unique<Buffer>(std::max(bytes, kSmallestBlock), kind_));
    offset_ = 0;
  }
  std::byte* memory = blocks_[block_]->data() + offset_;
  offset_ += bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return memory;
}

float* StepArena::floats(std::int64_t count) {
  return reinterpret_cast<float*>(allocate(static_cast<std::size_t>(count) * sizeof(float)));
}

Tensor StepArena::tensor(const Shape& shape, DType dtype) {
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * size_of(dtype);
  return Tensor::view(allocate(bytes), shape, dtype);
}

void StepArena::reset() {
  if (blocks_.size() > 1) {
    blocks_.clear();
    blocks_.push_back(std::make_unique<Buffer>(peak_, kind_));
  }
  block_ = offset_ = used_ = 0;
}

std::size_t StepArena::capacity() const {
  std::size_t bytes = 0;
  for (const auto& block : blocks_) bytes += block->size();
  return bytes;
}

StepArena::Scope::Scope(StepArena& arena)
    : arena_(arena), block_(arena.block_), offset_(arena.offset_), used_(arena.used_) {}

StepArena::Scope::~Scope() {
  arena_.block_ = block_;
  arena_.offset_ = offset_;
  arena_.used_ = used_;
}

}  // namespace trib
