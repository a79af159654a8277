// Scratch memory of the calling thread. Private to ops/kernels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace trib::ops {

/// Memory for `count` floats, on a cache line; what is in it is lost with the next call. Grown once
/// to what the largest task needs, and kept.
inline float* thread_scratch(std::int64_t count) {
  constexpr std::size_t kAlignment = 64;
  thread_local std::vector<float> memory;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  std::size_t space = bytes + kAlignment;
  memory.resize(std::max(memory.size(), space / sizeof(float)));
  void* start = memory.data();
  return static_cast<float*>(std::align(kAlignment, bytes, start, space));
}

}  // namespace trib::ops
