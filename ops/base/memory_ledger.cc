#include "ops/base/memory_ledger.h"

#include <atomic>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib {
namespace {

constexpr std::array<std::string_view, kMemoryKinds> kNames{
    "parameters", "gradients", "optimizer",     "activations",
    "workspace",  "ingest",    "communication", "checkpoint"};

struct Counter {
  std::atomic<std::int64_t> live{0};
  std::atomic<std::int64_t> peak{0};
};
std::array<Counter, kMemoryKinds> counters;

Counter& counter(MemoryKind kind) {
  return counters[static_cast<std::size_t>(kind)];
}

// Not std::aligned_alloc: that of glibc before 2.38 does not find the blocks it was given back, so
// that the memory of a long run of equal samples grows. The start of the block lies before the
// data.
std::byte* allocate_aligned(std::size_t bytes) {
  constexpr std::size_t kAlignment = 64;
  std::size_t space = bytes + kAlignment;
  void* const block = std::malloc(sizeof(void*) + space);
  if (block == nullptr) return nullptr;
  void* data = static_cast<void**>(block) + 1;
  std::align(kAlignment, bytes, data, space);
  static_cast<void**>(data)[-1] = block;
  return static_cast<std::byte*>(data);
}

void free_aligned(std::byte* data) {
  if (data != nullptr) std::free(reinterpret_cast<void**>(data)[-1]);
}

}  // namespace

std::string_view name_of(MemoryKind kind) {
  return kNames[static_cast<std::size_t>(kind)];
}

namespace memory_ledger {

void charge(MemoryKind kind, std::int64_t bytes) {
  Counter& c = counter(kind);
  const std::int64_t live = c.live.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  std::int64_t peak = c.peak.load(std::memory_order_relaxed);
  while (live > peak && !c.peak.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
  }
}

void release(MemoryKind kind, std::int64_t bytes) {
  counter(kind).live.fetch_sub(bytes, std::memory_order_relaxed);
}

MemoryUse use(MemoryKind kind) {
  const Counter& c = counter(kind);
  return {c.live.load(std::memory_order_relaxed), c.peak.load(std::memory_order_relaxed)};
}

std::array<MemoryUse, kMemoryKinds> snapshot() {
  std::array<MemoryUse, kMemoryKinds> all;
  for (std::size_t i = 0; i < kMemoryKinds; ++i) all[i] = use(static_cast<MemoryKind>(i));
  return all;
}

void reset_peaks() {
  for (Counter& c : counters) c.peak.store(c.live.load());
}

}  // namespace memory_ledger

Buffer::Buffer(std::size_t bytes, MemoryKind kind) : data_(nullptr), bytes_(bytes), kind_(kind) {
  if (bytes > 0) {
    data_ = allocate_aligned(bytes);
    if (data_ == nullptr) {
      throw RuntimeError(fmt::format("out of memory: {} bytes asked for {}", bytes, name_of(kind)));
    }
  }
  memory_ledger::charge(kind_, static_cast<std::int64_t>(bytes_));
}

Buffer::~Buffer() {
  free_aligned(data_);
  memory_ledger::release(kind_, static_cast<std::int64_t>(bytes_));
}

}  // namespace trib
