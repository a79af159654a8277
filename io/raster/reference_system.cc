#include "io/raster/reference_system.h"

#include <fmt/format.h>
#include <ogr_spatialref.h>

#include "io/raster/gdal_dataset.h"
#include "ops/base/error.h"

namespace trib::io {

OGRSpatialReference reference_system(const std::string& text) {
  static const char* const only_text[] = {"ALLOW_NETWORK_ACCESS=NO", "ALLOW_FILE_ACCESS=NO",
                                          nullptr};
  const GdalErrors errors;
  OGRSpatialReference system;
  if (system.SetFromUserInput(text.c_str(), only_text) != OGRERR_NONE) {
    throw ConfigError(fmt::format("'{}' is no coordinate reference system that is known: {}", text,
                                  errors.text()));
  }
  system.SetAxisMappingStrategy(OAMS_TRADITIONAL_GIS_ORDER);
  return system;
}

}  // namespace trib::io
