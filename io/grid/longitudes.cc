#include "io/grid/longitudes.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

double widest_step(const std::vector<double>& longitudes) {
  double widest = 0;
  for (std::size_t i = 1; i < longitudes.size(); ++i) {
    widest = std::max(widest, longitudes[i] - longitudes[i - 1]);
  }
  return widest;
}

bool same_meridian(double a, double b) {
  const double turns = (a - b) / 360;
  return std::abs(turns - std::round(turns)) * 360 < kSameDegrees;
}

}  // namespace

std::vector<double> longitudes_in(LongitudeRange range, const std::vector<double>& longitudes,
                                  const std::string& place) {
  if (range == LongitudeRange::as_is) return longitudes;
  const double first = range == LongitudeRange::east ? 0 : -180;
  std::vector<double> turned = longitudes;
  for (double& longitude : turned) {
    longitude -= 360 * std::floor((longitude - first + kSameDegrees) / 360);
  }
  std::ranges::rotate(turned, std::ranges::min_element(turned));
  const char* name = range == LongitudeRange::east ? "0..360" : "-180..180";
  for (std::size_t i = 1; i < turned.size(); ++i) {
    if (turned[i] - turned[i - 1] > kSameDegrees) continue;
    throw DataError(
        fmt::format("{}: longitudes {} to {} cannot be counted {}: two columns lie at {}", place,
                    longitudes.front(), longitudes.back(), name, turned[i]));
  }
  if (widest_step(turned) > widest_step(longitudes) * 1.5 + kSameDegrees) {
    throw DataError(fmt::format(
        "{}: longitudes {} to {} cannot be counted {}: a part of the globe would be torn in two",
        place, longitudes.front(), longitudes.back(), name));
  }
  return turned;
}

std::optional<std::int64_t> column_shift(const std::vector<double>& longitudes,
                                         const std::vector<double>& other) {
  const std::size_t n = longitudes.size();
  if (other.size() != n) return std::nullopt;
  for (std::size_t shift = 0; shift < n; ++shift) {
    if (!same_meridian(longitudes[0], other[shift])) continue;
    bool same = true;
    for (std::size_t i = 1; i < n && same; ++i) {
      same = same_meridian(longitudes[i], other[(i + shift) % n]);
    }
    if (same) return static_cast<std::int64_t>(shift);
  }
  return std::nullopt;
}

}  // namespace trib::io
