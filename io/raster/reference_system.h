// Coordinate reference systems as users write them. For .cc files alone: names a GDAL type.
#pragma once

#include <string>

class OGRSpatialReference;

namespace trib::io {

/// What `text` names: "EPSG:32632", WKT, PROJ. Coordinates go easting or longitude first whatever
/// the authority says. No file or address is opened for it. Throws ConfigError with GDAL's reason.
OGRSpatialReference reference_system(const std::string& text);

}  // namespace trib::io
