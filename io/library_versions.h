// Versions of the format libraries, for the record of a run.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace trib::io {

/// ("GDAL", "3.6.2"), ("HDF5", "1.10.8"), ("netCDF", "4.9.0").
std::vector<std::pair<std::string, std::string>> library_versions();

}  // namespace trib::io
