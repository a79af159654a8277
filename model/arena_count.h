// Sizes as the step arena counts them.
#pragma once

#include <cstdint>

namespace trib::model {

/// Bytes the step arena takes for blocks of the given numbers of elements, each rounded up to its
/// 64-byte alignment.
template <class... Counts>
constexpr std::int64_t arena_bytes_of(std::int64_t element_bytes, Counts... counts) {
  return (0 + ... + ((static_cast<std::int64_t>(counts) * element_bytes + 63) / 64 * 64));
}

/// The same of floats.
template <class... Counts>
constexpr std::int64_t arena_bytes(Counts... counts) {
  return arena_bytes_of(4, counts...);
}

}  // namespace trib::model
