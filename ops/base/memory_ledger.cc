#include "ops/base/memory_ledger.h"

#include <atomic>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

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

std::size_t whole_pages(std::size_t bytes) {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
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

// The address sanitizer sees the ends of what malloc gave alone.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMapsLargeBlocks = false;
#else
constexpr bool kMapsLargeBlocks = true;
#endif
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Large blocks that live long are asked from the system, from the boundary of a huge page on and
// with leave to use them: first touches cost less, and so does every access that is not in the
// processor's list of pages. No more of it becomes resident than was asked for, and nothing before
// it is touched. Blocks of ingest and checkpoints come and go; malloc uses theirs again.
bool takes_huge_pages(std::size_t bytes, MemoryKind kind) {
  return kMapsLargeBlocks && bytes >= 2 * kHugePage && kind != MemoryKind::ingest &&
         kind != MemoryKind::checkpoint;
}

std::byte* map_huge(std::size_t bytes) {
  const std::size_t reserved = bytes + kHugePage;
  void* const start =
      ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(start);
  const std::size_t before =
      (kHugePage - reinterpret_cast<std::uintptr_t>(first) % kHugePage) % kHugePage;
  std::byte* const data = first + before;
  std::byte* const end = data + whole_pages(bytes);
  if (before > 0) ::munmap(first, before);
  if (end < first + whole_pages(reserved)) {
    ::munmap(end, static_cast<std::size_t>(first + whole_pages(reserved) - end));
  }
  ::madvise(data, whole_pages(bytes), MADV_HUGEPAGE);  // a wish; the system may refuse it
  return data;
}

void unmap(std::byte* data, std::size_t bytes) {
  ::munmap(data, whole_pages(bytes));
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
    data_ = takes_huge_pages(bytes, kind) ? map_huge(bytes) : allocate_aligned(bytes);
    if (data_ == nullptr) {
      throw RuntimeError(fmt::format("out of memory: {} bytes asked for {}", bytes, name_of(kind)));
    }
  }
  memory_ledger::charge(kind_, static_cast<std::int64_t>(bytes_));
}

Buffer::~Buffer() {
  if (takes_huge_pages(bytes_, kind_)) {
    unmap(data_, bytes_);
  } else {
    free_aligned(data_);
  }
  memory_ledger::release(kind_, static_cast<std::int64_t>(bytes_));
}

}  // namespace trib
