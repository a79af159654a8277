#include "io/raster/raster_header.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <gdal_priv.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

double spacing(const RasterGrid& grid) {
  return std::hypot(grid.geo.transform[1], grid.geo.transform[4]);
}

}  // namespace

RasterHeader read_raster_header(const std::string& path, const std::string& driver,
                                const std::optional<GridWish>& wish, bool may_be_decimated) {
  const GdalDataset dataset(path, driver);
  RasterHeader header;
  header.path = path;
  header.driver = dataset.driver();
  header.bands = describe_bands(dataset);
  header.grid = stored_grid(dataset);
  header.tiff = find_tiff_shape(dataset);
  {
    const auto guard = dataset.lock();
    const GdalErrors quiet;
    GeoReference unused;
    header.has_place = dataset.gdal().GetGeoTransform(unused.transform.data()) == CE_None;
    header.has_points = !header.has_place && dataset.gdal().GetGCPCount() > 0;
  }
  if (wish || may_be_decimated) header.overviews = overview_factors(dataset);
  if (wish) header.placement = place(dataset, wish->crs_wkt);
  return header;
}

const RasterBand& only_band(const RasterHeader& header) {
  const RasterBand* found = nullptr;
  for (const RasterBand& band : header.bands) {
    if (band.is_alpha) continue;
    if (found != nullptr) {
      throw DataError(fmt::format("{}: has {} bands, but is to be one band of a scene", header.path,
                                  header.bands.size()));
    }
    found = &band;
  }
  if (found == nullptr) throw DataError(fmt::format("{}: has no band but alpha", header.path));
  return *found;
}

std::shared_ptr<const Warp> warp_onto(const RasterGrid& grid, const RasterHeader& header,
                                      const RasterHeader& reference,
                                      const std::optional<GridWish>& wish, std::int64_t decimate,
                                      const std::string& resampling) {
  const bool lies_there = !header.has_points || !wish;
  if (lies_there && header.has_place == reference.has_place && same_pixels(header.grid, grid)) {
    return nullptr;
  }
  auto warp = std::make_shared<Warp>();
  warp->grid = grid;
  warp->resampling = resampling;
  const bool both_placed = header.has_place && reference.has_place;
  if (wish) {
    const auto [width, height] = header.placement->spacing;
    warp->overview = choose_overview(header.overviews, spacing(grid) / std::min(width, height));
    return warp;
  }
  if (!both_placed || header.grid.extent == reference.grid.extent) {
    // Pixels have no place in the world, or the same one: they are as far from the corner.
    const auto size = [](const Extent& e) {
      return std::pair(static_cast<double>(e.height), static_cast<double>(e.width));
    };
    const auto [height, width] = size(header.grid.extent);
    const auto [rows, columns] = size(reference.grid.extent);
    const auto step = static_cast<double>(decimate);
    warp->in_pixels = true;
    warp->grid.geo.transform = {0, step * width / columns, 0, 0, 0, step * height / rows};
    warp->overview = choose_overview(header.overviews, warp->grid.geo.transform[1]);
    return warp;
  }
  if (same_system(header.grid.geo.crs_wkt, grid.geo.crs_wkt)) {
    warp->overview = choose_overview(header.overviews, spacing(grid) / spacing(header.grid));
  }
  return warp;
}

}  // namespace trib::io
