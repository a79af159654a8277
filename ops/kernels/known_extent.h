// Loops over short axes whose length is usually one of a few. Private to ops/kernels.
#pragma once

#include <cstdint>
#include <type_traits>

namespace trib::ops {

/// Call body(extent): with a compile-time constant if `extent` is one of kKnown, so that loops of
/// that length are unrolled, else with the number itself.
template <std::int64_t... kKnown, class Body>
void with_known_extent(std::int64_t extent, const Body& body) {
  const bool known =
      ((extent == kKnown && (body(std::integral_constant<std::int64_t, kKnown>{}), true)) || ...);
  if (!known) body(extent);
}

}  // namespace trib::ops
