#include "io/raster/raster_grid.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <cpl_string.h>
#include <fmt/format.h>
#include <gdal_alg.h>
#include <gdal_priv.h>
#include <ogr_spatialref.h>

#include "io/raster/reference_system.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr double kTolerance = 0.01;  // of a pixel

std::array<double, 2> pixel_at(const GeoReference& geo, double column, double row) {
  const auto& t = geo.transform;
  return {t[0] + t[1] * column + t[2] * row, t[3] + t[4] * column + t[5] * row};
}

bool close(double a, double b, double tolerance) {
  return std::abs(a - b) <= tolerance;
}

/// Pixels from `first` to `last`, in a signed 32-bit number as GDAL has it.
std::int64_t count_pixels(double first, double last) {
  const double count = last - first;
  if (!(count >= 1 && count <= std::numeric_limits<std::int32_t>::max())) {
    throw ConfigError(fmt::format(
        "the grid would have {} pixels from one side to the other; check resolution and bounds",
        count));
  }
  return static_cast<std::int64_t>(count);
}

}  // namespace

Placement place(const GdalDataset& dataset, const std::string& crs_wkt) {
  const auto guard = dataset.lock();
  const GdalErrors errors;
  GDALDatasetH handle = GDALDataset::ToHandle(&dataset.gdal());
  std::array<double, 6> stored{};
  if (dataset.gdal().GetGeoTransform(stored.data()) != CE_None &&
      dataset.gdal().GetGCPCount() == 0) {
    throw DataError(fmt::format(
        "{}: has neither a geotransform nor control points, so it cannot be brought onto a grid",
        dataset.path()));
  }
  CPLStringList options;
  if (!crs_wkt.empty()) options.SetNameValue("DST_SRS", crs_wkt.c_str());
  const std::unique_ptr<void, void (*)(void*)> transformer(
      GDALCreateGenImgProjTransformer2(handle, nullptr, options.List()),
      GDALDestroyGenImgProjTransformer);
  std::array<double, 6> transform{};
  std::array<double, 4> bounds{};
  int width = 0;
  int height = 0;
  if (transformer == nullptr ||
      GDALSuggestedWarpOutput2(handle, GDALGenImgProjTransform, transformer.get(), transform.data(),
                               &width, &height, bounds.data(), 0) != CE_None) {
    throw DataError(
        fmt::format("{}: cannot be brought into the reference system that is wanted: {}",
                    dataset.path(), errors.text()));
  }
  return {bounds, {std::abs(transform[1]), std::abs(transform[5])}};
}

RasterGrid cover(const Placement& placement, const GridWish& wish, const std::string& crs_wkt) {
  if (wish.fixed) return *wish.fixed;
  const auto [width, height] = wish.spacing.value_or(placement.spacing);
  const auto [left, bottom, right, top] = placement.bounds;
  // A border that lies on the lattice but for rounding takes no further pixel.
  const auto below = [](double at) { return std::floor(at + kTolerance); };
  const auto above = [](double at) { return std::ceil(at - kTolerance); };
  const double first_column = below((left - wish.origin[0]) / width);
  const double last_column = above((right - wish.origin[0]) / width);
  const double first_row = below((wish.origin[1] - top) / height);
  const double last_row = above((wish.origin[1] - bottom) / height);
  RasterGrid grid;
  grid.extent = {count_pixels(first_row, last_row), count_pixels(first_column, last_column)};
  grid.geo.crs_wkt = crs_wkt;
  grid.geo.transform = {wish.origin[0] + first_column * width, width, 0,
                        wish.origin[1] - first_row * height,   0,     -height};
  return grid;
}

RasterGrid stored_grid(const GdalDataset& dataset) {
  const auto guard = dataset.lock();
  const GdalErrors quiet;
  RasterGrid grid;
  grid.extent = {dataset.gdal().GetRasterYSize(), dataset.gdal().GetRasterXSize()};
  if (dataset.gdal().GetGeoTransform(grid.geo.transform.data()) != CE_None) {
    grid.geo.transform = {0, 1, 0, 0, 0, 1};
  }
  grid.geo.crs_wkt = dataset.gdal().GetProjectionRef();
  if (grid.geo.crs_wkt.empty() && dataset.gdal().GetGCPCount() > 0) {
    grid.geo.crs_wkt = dataset.gdal().GetGCPProjection();
  }
  return grid;
}

bool same_system(const std::string& a, const std::string& b) {
  if (a == b) return true;
  if (a.empty() || b.empty()) return false;
  const GdalErrors quiet;
  const OGRSpatialReference first = reference_system(a), second = reference_system(b);
  return first.IsSame(&second) != 0;
}

bool same_pixels(const RasterGrid& a, const RasterGrid& b) {
  if (!(a.extent == b.extent)) return false;
  const auto window = aligned(a, b);
  return window && window->y == 0 && window->x == 0;
}

std::optional<Window> aligned(const RasterGrid& part, const RasterGrid& whole) {
  if (!same_system(part.geo.crs_wkt, whole.geo.crs_wkt)) return {};
  std::array<double, 6> forward = whole.geo.transform, inverse{};
  if (GDALInvGeoTransform(forward.data(), inverse.data()) == 0) return {};
  // The corners of the part in pixels of the whole must be whole numbers, as far apart as it has
  // pixels.
  const auto corner = [&](double column, double row) {
    const auto [x, y] = pixel_at(part.geo, column, row);
    return std::array<double, 2>{inverse[0] + inverse[1] * x + inverse[2] * y,
                                 inverse[3] + inverse[4] * x + inverse[5] * y};
  };
  const auto width = static_cast<double>(part.extent.width);
  const auto height = static_cast<double>(part.extent.height);
  const auto [x0, y0] = corner(0, 0);
  if (!(std::abs(x0) < 1e15 && std::abs(y0) < 1e15)) return {};
  const double column = std::round(x0), row = std::round(y0);
  const auto lies_at = [&](double dx, double dy) {
    const auto [x, y] = corner(dx, dy);
    return close(x, column + dx, kTolerance) && close(y, row + dy, kTolerance);
  };
  if (!lies_at(0, 0) || !lies_at(width, 0) || !lies_at(0, height) || !lies_at(width, height)) {
    return {};
  }
  return Window{static_cast<std::int64_t>(row), static_cast<std::int64_t>(column),
                part.extent.height, part.extent.width};
}

}  // namespace trib::io
