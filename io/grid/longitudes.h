// The two ways to count longitudes, 0..360 and -180..180, on one grid.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace trib::io {

/// Where longitudes begin.
enum class LongitudeRange : std::uint8_t {
  as_is,   ///< as in the (first) file
  east,    ///< 0 <= longitude < 360
  centred  ///< -180 <= longitude < 180
};

/// Coordinates are often floats: closer than this, degrees are the same.
inline constexpr double kSameDegrees = 1e-4;

/// Ascending longitudes of a grid counted otherwise. Throws DataError, naming `place`, where that
/// would tear a part of the globe in two or bring two columns to the same meridian.
std::vector<double> longitudes_in(LongitudeRange range, const std::vector<double>& longitudes,
                                  const std::string& place);

/// By how many columns `other` is turned against `longitudes`: longitude i is that of column
/// (i + shift) % size of `other`, up to full turns. None if they are not the same meridians.
std::optional<std::int64_t> column_shift(const std::vector<double>& longitudes,
                                         const std::vector<double>& other);

}  // namespace trib::io
