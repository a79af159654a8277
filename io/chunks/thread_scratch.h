// Memory for bytes on their way through a thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace trib::io {

/// Uninitialised memory that the thread keeps for the next use, since memory the system has just
/// handed out costs a page fault for every 4 KB. Charged to MemoryKind::ingest while it is in use;
/// idle, at most 8 MB of a block are kept. To be used within one thread.
class ThreadScratch {
 public:
  /// Throws RuntimeError if there is no memory.
  explicit ThreadScratch(std::size_t bytes);
  ~ThreadScratch();
  ThreadScratch(const ThreadScratch&) = delete;
  ThreadScratch& operator=(const ThreadScratch&) = delete;

  std::span<std::byte> bytes() { return {block_.data.get(), size_}; }

  struct Block {
    std::unique_ptr<std::byte[]> data;
    std::size_t capacity = 0;
  };

 private:
  Block block_;
  std::size_t size_;
};

}  // namespace trib::io
