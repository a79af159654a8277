#include "ops/regrid/regrid_weights.h"

#include <limits>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/regrid/method_weights.h"

namespace trib::ops {
namespace {

RegridWeights weights_of(RegridMethod method, const RegularGrid& source, const RegularGrid& target,
                         bool allow_outside) {
  switch (method) {
    case RegridMethod::bilinear:
      return bilinear_weights(source, target, allow_outside);
    case RegridMethod::nearest:
      return nearest_weights(source, target, allow_outside);
    case RegridMethod::conservative:
      return conservative_weights(source, target, allow_outside);
  }
  throw RuntimeError("unknown method of regridding");
}

}  // namespace

void SparseMap::end_target(double covered) {
  row_begin.push_back(static_cast<std::int64_t>(columns.size()));
  coverage.push_back(covered);
}

void refuse_outside(const char* axis, double target, double first, double last, const char* why) {
  throw ConfigError(fmt::format("regridding: target {} {} lies outside the source, {} .. {}{}",
                                axis, target, first, last, why));
}

RegridWeights regrid_weights(const RegularGrid& source, const RegularGrid& target,
                             RegridMethod method, bool allow_outside) {
  for (const auto* axis : {&source.latitudes, &source.longitudes}) {
    if (axis->size() >= 2) continue;
    throw ConfigError(
        fmt::format("regridding: the source grid needs at least 2 latitudes and 2 longitudes, "
                    "found {} and {}",
                    source.latitudes.size(), source.longitudes.size()));
  }
  if (source.size() > std::numeric_limits<std::int32_t>::max()) {
    throw ConfigError(fmt::format("regridding: a source of {} points is too large", source.size()));
  }
  RegridWeights weights = weights_of(method, source, target, allow_outside);
  weights.source_size = source.size();
  weights.target_size = target.size();
  weights.points.source_size = weights.is_separable ? 0 : source.size();
  if (weights.is_separable) {
    weights.latitude.source_size = static_cast<std::int64_t>(source.latitudes.size());
    weights.longitude.source_size = static_cast<std::int64_t>(source.longitudes.size());
  }
  return weights;
}

}  // namespace trib::ops
