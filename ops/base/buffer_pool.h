// Equal buffers that are used again: memory the system has just handed out costs a page fault for
// every 4 KB that is touched, which is slower than copying into it.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "ops/base/memory_ledger.h"

namespace trib {

/// Hands out buffers of one size, charged to the ledger also while they lie idle. Thread-safe;
/// buffers may outlive the pool.
class BufferPool {
 public:
  /// At most `max_idle` buffers wait to be used again.
  BufferPool(std::size_t bytes, MemoryKind kind, std::size_t max_idle);

  std::shared_ptr<Buffer> take();

 private:
  struct Idle {
    std::mutex mutex;
    std::vector<std::unique_ptr<Buffer>> buffers;
  };
  std::size_t bytes_, max_idle_;
  MemoryKind kind_;
  std::shared_ptr<Idle> idle_ = std::make_shared<Idle>();
};

}  // namespace trib
