#include "io/raster/geo_locator.h"

#include <cmath>

#include <fmt/format.h>
#include <gdal.h>
#include <ogr_spatialref.h>

#include "io/raster/gdal_dataset.h"
#include "io/raster/reference_system.h"
#include "ops/base/error.h"

namespace trib::io {

struct GeoLocator::Transformation {
  std::unique_ptr<OGRCoordinateTransformation> between;
};

GeoLocator::GeoLocator() {
  prepare_gdal();
}

GeoLocator::~GeoLocator() = default;

const GeoLocator::Transformation& GeoLocator::between(const std::string& from,
                                                      const std::string& to_wkt) {
  std::unique_ptr<Transformation>& known = known_[{from, to_wkt}];
  if (known == nullptr) {
    const OGRSpatialReference source = reference_system(from);
    const OGRSpatialReference target = reference_system(to_wkt);
    const GdalErrors errors;
    auto made = std::make_unique<Transformation>();
    made->between.reset(OGRCreateCoordinateTransformation(&source, &target));
    if (made->between == nullptr) {
      throw DataError(fmt::format(
          "coordinates of '{}' cannot be turned into those of the image: {}", from, errors.text()));
    }
    known = std::move(made);
  }
  return *known;
}

std::optional<std::array<double, 2>> GeoLocator::pixel_of(const GeoReference& geo,
                                                          const std::string& crs, double x,
                                                          double y) {
  std::array<double, 6> forward = geo.transform;
  std::array<double, 6> inverse{};
  if (GDALInvGeoTransform(forward.data(), inverse.data()) == 0) {
    throw DataError("the image's geotransform cannot be inverted");
  }
  if (!crs.empty()) {
    if (geo.crs_wkt.empty()) {
      throw DataError(
          fmt::format("the image has no reference system that '{}' could be turned into", crs));
    }
    const Transformation& transformation = between(crs, geo.crs_wkt);
    const GdalErrors quiet;
    if (transformation.between->Transform(1, &x, &y) == 0) return {};
  }
  const double column = inverse[0] + inverse[1] * x + inverse[2] * y;
  const double row = inverse[3] + inverse[4] * x + inverse[5] * y;
  if (!std::isfinite(column) || !std::isfinite(row)) return {};
  return std::array<double, 2>{column, row};
}

}  // namespace trib::io
