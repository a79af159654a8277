#include "io/raster/grid_wish.h"

#include <fmt/format.h>
#include <gdal_priv.h>
#include <ogr_spatialref.h>

#include "io/raster/gdal_dataset.h"
#include "io/raster/reference_system.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string wkt_of(const std::string& crs) {
  const OGRSpatialReference system = reference_system(crs);
  char* text = nullptr;
  system.exportToWkt(&text);
  std::string wkt = text != nullptr ? text : "";
  CPLFree(text);
  return wkt;
}

GridWish grid_of_file(const std::string& path) {
  const GdalDataset like(path);
  const auto guard = like.lock();
  GeoReference unused;
  if (like.gdal().GetGeoTransform(unused.transform.data()) != CE_None) {
    throw ConfigError(fmt::format("align_to: {} has no geotransform", path));
  }
  GridWish wish;
  wish.fixed = stored_grid(like);
  wish.crs_wkt = wish.fixed->geo.crs_wkt;
  return wish;
}

}  // namespace

std::optional<GridWish> make_wish(const RasterOptions& options, const std::string& first) {
  if (!options.align_to.empty()) return grid_of_file(options.align_to);
  if (options.crs.empty() && !options.resolution && !options.bounds) return {};
  GridWish wish;
  if (!options.crs.empty()) wish.crs_wkt = wkt_of(options.crs);
  wish.spacing = options.resolution;
  if ((!wish.crs_wkt.empty() || options.bounds) && !wish.spacing) {
    wish.spacing = place(GdalDataset(first), wish.crs_wkt).spacing;
  }
  if (options.bounds) {
    if (wish.crs_wkt.empty()) wish.crs_wkt = stored_grid(GdalDataset(first)).geo.crs_wkt;
    const auto [left, bottom, right, top] = *options.bounds;
    if (!(left < right && bottom < top)) {
      throw ConfigError("bounds: expected [left, bottom, right, top], each less than its opposite");
    }
    wish.origin = {left, top};
    wish.fixed = cover({*options.bounds, *wish.spacing}, wish, wish.crs_wkt);
  }
  return wish;
}

GridWish lattice_of(GridWish wish) {
  if (!wish.fixed) return wish;
  const auto& t = wish.fixed->geo.transform;
  if (t[2] != 0 || t[4] != 0 || t[1] <= 0 || t[5] >= 0) {
    throw ConfigError(
        "align_to: a mosaic needs a grid whose rows run from west to east and whose first one is "
        "in the north");
  }
  wish.origin = {t[0], t[3]};
  wish.spacing = {t[1], -t[5]};
  wish.fixed.reset();
  return wish;
}

}  // namespace trib::io
