#include "io/chunks/thread_scratch.h"

#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/memory_ledger.h"

namespace trib::io {
namespace {

constexpr std::size_t kMostKept = std::size_t{8} << 20;

std::vector<ThreadScratch::Block>& idle_blocks() {
  thread_local std::vector<ThreadScratch::Block> idle;
  return idle;
}

}  // namespace

ThreadScratch::ThreadScratch(std::size_t bytes) : size_(bytes) {
  std::vector<Block>& idle = idle_blocks();
  if (!idle.empty()) {
    block_ = std::move(idle.back());
    idle.pop_back();
  }
  if (block_.capacity < bytes) {
    block_.data.reset();
    block_.data.reset(new (std::nothrow) std::byte[bytes]);
    if (block_.data == nullptr) {
      throw RuntimeError(fmt::format("out of memory: {} bytes for decoding", bytes));
    }
    block_.capacity = bytes;
  }
  memory_ledger::charge(MemoryKind::ingest, static_cast<std::int64_t>(size_));
}

ThreadScratch::~ThreadScratch() {
  memory_ledger::release(MemoryKind::ingest, static_cast<std::int64_t>(size_));
  if (block_.capacity > 0 && block_.capacity <= kMostKept) {
    idle_blocks().push_back(std::move(block_));
  }
}

}  // namespace trib::io
