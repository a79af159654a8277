#include "io/raster/raster_join.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string describe(const RasterGrid& grid) {
  const auto& t = grid.geo.transform;
  return fmt::format("pixels of {} x {} from {}, {}", t[1], t[5], t[0], t[3]);
}

}  // namespace

RasterImage join_images(std::vector<RasterImage> images, const std::vector<RasterGrid>& grids,
                        const std::optional<RasterGrid>& fixed) {
  const RasterGrid& first = fixed ? *fixed : grids.front();
  const std::string first_path = images.front().path();
  RasterImage whole;
  whole.overlaps = true;
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto window = aligned(grids[i], first);
    if (images[i].geo == nullptr || !window) {
      throw DataError(fmt::format(
          "mosaic: {} ({}) does not lie on the grid of {} ({}){}; set crs and resolution to "
          "bring all onto one",
          images[i].path(), images[i].geo == nullptr ? "without a place" : describe(grids[i]),
          first_path, describe(first),
          images[i].geo != nullptr && !same_system(grids[i].geo.crs_wkt, first.geo.crs_wkt)
              ? ", its reference system is another"
              : ""));
    }
    if (images[i].classes != nullptr) {
      throw ConfigError("label_from: a mosaic can have no rasters of classes");
    }
    top = std::min(top, window->y);
    left = std::min(left, window->x);
    bottom = std::max(bottom, window->y + window->height);
    right = std::max(right, window->x + window->width);
    for (RasterPart& part : images[i].parts) {
      part.area.y = window->y;
      part.area.x = window->x;
      whole.parts.push_back(std::move(part));
    }
  }
  GeoReference geo = first.geo;
  if (fixed) {
    whole.extent = first.extent;
  } else {
    constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();
    whole.extent = {bottom - top, right - left};
    if (whole.extent.height > kLargest || whole.extent.width > kLargest) {
      throw DataError(fmt::format("mosaic: it would have {} x {} pixels", whole.extent.height,
                                  whole.extent.width));
    }
    auto& t = geo.transform;
    const auto rows = static_cast<double>(top), columns = static_cast<double>(left);
    t[0] += t[1] * columns + t[2] * rows;
    t[3] += t[4] * columns + t[5] * rows;
    for (RasterPart& part : whole.parts) {
      part.area.y -= top;
      part.area.x -= left;
    }
  }
  whole.geo = std::make_shared<const GeoReference>(std::move(geo));
  return whole;
}

}  // namespace trib::io
