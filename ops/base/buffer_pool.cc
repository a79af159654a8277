#include "ops/base/buffer_pool.h"

#include <utility>

namespace trib {

BufferPool::BufferPool(std::size_t bytes, MemoryKind kind, std::size_t max_idle)
    : bytes_(bytes), max_idle_(max_idle), kind_(kind) {}

std::shared_ptr<Buffer> BufferPool::take() {
  std::unique_ptr<Buffer> buffer;
  {
    const std::lock_guard lock(idle_->mutex);
    if (!idle_->buffers.empty()) {
      buffer = std::move(idle_->buffers.back());
      idle_->buffers.pop_back();
    }
  }
  if (buffer == nullptr) buffer = std::make_unique<Buffer>(bytes_, kind_);
  const auto give_back = [idle = std::weak_ptr(idle_), max_idle = max_idle_](Buffer* used) {
    std::unique_ptr<Buffer> owned(used);
    const std::shared_ptr<Idle> pool = idle.lock();
    if (pool == nullptr) return;
    const std::lock_guard lock(pool->mutex);
    if (pool->buffers.size() < max_idle) pool->buffers.push_back(std::move(owned));
  };
  return {buffer.release(), give_back};
}

}  // namespace trib
