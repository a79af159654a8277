// From coordinates to pixels.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "io/image.h"

namespace trib::io {

/// Finds the pixels of images by coordinates of any reference system. Not thread-safe.
class GeoLocator {
 public:
  GeoLocator();
  ~GeoLocator();
  GeoLocator(const GeoLocator&) = delete;
  GeoLocator& operator=(const GeoLocator&) = delete;

  /// Column and row of a place, fractional, counted from the outer corner of the first pixel: the
  /// place lies in pixel [floor(row), floor(column)]. `crs` is what GDAL understands ("EPSG:32632",
  /// WKT, PROJ), x is always easting or longitude; an empty one means the image's own. Nothing if
  /// the place has no coordinates in the image's system. Throws ConfigError if `crs` is not known,
  /// DataError if the image has no reference system to turn it into or no invertible transform.
  std::optional<std::array<double, 2>> pixel_of(const GeoReference& geo, const std::string& crs,
                                                double x, double y);

 private:
  struct Transformation;
  const Transformation& between(const std::string& from, const std::string& to_wkt);

  // By the two systems; a table of points names few.
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Transformation>> known_;
};

}  // namespace trib::io
