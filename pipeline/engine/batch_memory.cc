#include "pipeline/engine/batch_memory.h"

namespace trib::pipeline {
namespace {

// Of the batches that are done: while the model has one and the next is filled, one is free.
constexpr std::size_t kIdleBatches = 2;

Shape stacked(std::int64_t batch_size, const Shape& sample) {
  Shape shape{batch_size};
  for (const std::int64_t extent : sample) shape.push_back(extent);
  return shape;
}

}  // namespace

BatchMemory::Stack::Stack(std::int64_t batch_size, const Shape& sample)
    : shape(stacked(batch_size, sample)),
      pool(static_cast<std::size_t>(shape.numel()) * sizeof(float), MemoryKind::ingest,
           kIdleBatches) {}

BatchMemory::BatchMemory(std::int64_t batch_size, const Sampler& order, const Shape& x_cyx,
                         const Shape& target_vyx)
    : batch_size_(static_cast<std::uint64_t>(batch_size)),
      order_(order),
      first_index_(order.own_index(order.own_position(0))),
      x_(batch_size, x_cyx) {
  if (target_vyx.numel() > 0) target_.emplace(batch_size, target_vyx);
}

SampleSlot BatchMemory::slot(std::uint64_t position) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t index = order_.own_index(position);
  if (index < first_index_) return {};
  const std::uint64_t place = index - first_index_;
  const auto [at, is_new] = open_.try_emplace(place / batch_size_);
  Open& open = at->second;
  if (is_new) {
    open.x_bcyx = x_.take();
    if (target_) open.target_bvyx = target_->take();
  }
  const auto b = static_cast<std::int64_t>(place % batch_size_);
  SampleSlot slot{open.x_bcyx.select(0, b).detached(), {}};
  if (target_) slot.target_vyx = open.target_bvyx.select(0, b).detached();
  return slot;
}

void BatchMemory::begin_batch(std::uint64_t position) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t index = order_.own_index(position);
  if (index >= first_index_ && (index - first_index_) % batch_size_ == 0) {
    open_.erase(open_.begin(), open_.lower_bound((index - first_index_) / batch_size_));
    return;
  }
  first_index_ = index;
  open_.clear();  // no place is handed out twice
}

}  // namespace trib::pipeline
