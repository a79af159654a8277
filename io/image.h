// What a reader hands over: pixels with named channels, and where they came from.
//
// Axes: c channel, y row (downwards in the file), x column.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "ops/base/tensor.h"

namespace trib::io {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// One channel of an image. The name is how graphs and metrics speak of it.
struct Channel {
  std::string name;   ///< "t_850", "t2m", "B04", "550.2nm"
  std::string units;  ///< as the file says, may be empty
  double wavelength_nm = kUnknown;
  double level_hpa = kUnknown;
  double fwhm_nm = kUnknown;  ///< full width at half maximum of the band's spectral response
  bool bad = false;           ///< its file says that the band is of no use
};

/// A rectangle of pixels.
struct Window {
  std::int64_t y = 0, x = 0, height = 0, width = 0;
  bool operator==(const Window&) const = default;
};

/// Affine map from pixel to projected coordinates, as in GDAL.
struct GeoReference {
  std::string crs_wkt;
  std::array<double, 6> transform{0, 1, 0, 0, 0, 1};
};

/// A regular latitude-longitude grid: cell centres in degrees, in the order of the rows and
/// columns.
struct LatLonGrid {
  std::vector<double> latitudes;
  std::vector<double> longitudes;
  bool operator==(const LatLonGrid&) const = default;
};

/// Where an image came from.
struct Provenance {
  std::string file;
  Window window;                            ///< in pixels of the file
  std::shared_ptr<const GeoReference> geo;  ///< null if unknown
  double time = kUnknown;                   ///< seconds since 1970-01-01T00:00Z
  std::int32_t label = -1;                  ///< class, -1 if none
};

/// What becomes of a channel's physical values on their way out of a reader: value * scale +
/// offset. Missing ones stay NaN.
struct Affine {
  double scale = 1, offset = 0;
  bool operator==(const Affine&) const = default;
};

/// Pixels in physical units; missing ones are NaN.
struct Image {
  Tensor data_cyx;  ///< f32, contiguous, charged to MemoryKind::ingest
  Provenance provenance;
};

}  // namespace trib::io
