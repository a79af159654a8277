// Scratch memory of the calling thread. Private to ops/kernels.
//
// It is not in the memory ledger: how much of it there is depends on the pieces of loops that each
// thread came to take, so that no formula could foretell it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace trib::ops {

namespace detail {

// The first `count` floats of `memory` from a cache line on; grown if need be.
inline float* aligned_floats(std::vector<float>& memory, std::int64_t count) {
  constexpr std::size_t kAlignment = 64;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  std::size_t space = bytes + kAlignment;
  memory.resize(std::max(memory.size(), space / sizeof(float)));
  void* start = memory.data();
  return static_cast<float*>(std::align(kAlignment, bytes, start, space));
}

}  // namespace detail

/// Memory for `count` floats, on a cache line; what is in it is lost with the next call. Grown once
/// to what the largest task needs, and kept.
inline float* thread_scratch(std::int64_t count) {
  thread_local std::vector<float> memory;
  return detail::aligned_floats(memory, count);
}

/// Memory for `count` floats as long as this lives, on a cache line, apart from thread_scratch()
/// and from the scopes around it. For what the pieces of a parallel loop have in common: while its
/// thread waits for them it may run others that need scratch memory themselves. Grown once, kept.
class ScratchScope {
 public:
  explicit ScratchScope(std::int64_t count) {
    Levels& own = levels();
    if (own.depth == own.memory.size()) own.memory.emplace_back();
    data_ = detail::aligned_floats(own.memory[own.depth], count);
    ++own.depth;
  }
  ~ScratchScope() { --levels().depth; }
  ScratchScope(const ScratchScope&) = delete;
  ScratchScope& operator=(const ScratchScope&) = delete;

  float* data() const { return data_; }

 private:
  struct Levels {
    std::vector<std::vector<float>> memory;
    std::size_t depth = 0;
  };
  static Levels& levels() {
    thread_local Levels own;
    return own;
  }
  float* data_;
};

}  // namespace trib::ops
