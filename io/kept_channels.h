// What the sources share of ImageSource::keep_channels().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace trib::io {

/// Check positions among `available` channels: ascending, none twice, none beyond.
/// Throws RuntimeError naming the first that is not.
void check_kept_channels(std::span<const std::int64_t> kept, std::size_t available);

/// The elements of `all` at these positions.
template <class T>
std::vector<T> elements_at(std::span<const std::int64_t> positions, const std::vector<T>& all) {
  std::vector<T> found;
  found.reserve(positions.size());
  for (const std::int64_t p : positions) found.push_back(all[static_cast<std::size_t>(p)]);
  return found;
}

}  // namespace trib::io
