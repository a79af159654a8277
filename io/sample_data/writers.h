// The writers of sample data, one a format. Internal to io/sample_data.
#pragma once

#include <string>
#include <vector>

#include "io/sample_data/sample_data.h"

namespace trib::io {

/// GeoTIFF scenes in `folder`, their classes in `folder`/classes, which must exist.
std::vector<std::string> write_satellite(const std::string& folder,
                                         const SampleDataOptions& options);

/// NetCDF files of the atmosphere.
std::vector<std::string> write_era5(const std::string& folder, const SampleDataOptions& options);

/// HDF5 cubes of maize fields.
std::vector<std::string> write_hyperspectral(const std::string& folder,
                                             const SampleDataOptions& options);

}  // namespace trib::io
