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

FloatPtr StepArena::floats(std::int64_t count, DType dtype) {
  return {allocate(static_cast<std::size_t>(count) * size_of(dtype)), dtype};
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

void StepArena::release(const Mark& mark) {
  block_ = mark.block;
  offset_ = mark.offset;
  used_ = mark.used;
}

}  // namespace trib
