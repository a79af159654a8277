// Sizes as the step arena counts them.
#pragma once

#include <cstdint>

namespace trib::model {

/// Bytes the step arena takes for blocks of the given numbers of floats, each rounded up to its
/// 64-byte alignment.
template <class... Counts>
constexpr std::int64_t arena_bytes(Counts... counts) {
  return (0 + ... + ((static_cast<std::int64_t>(counts) * 4 + 63) / 64 * 64));
}

}  // namespace trib::model
