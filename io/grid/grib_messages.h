// What GDAL does not tell of a GRIB file: kinds of grids and numbers of ensemble members.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trib::io {

/// A field of a GRIB file: a message of edition 1, or one of the fields of a message of edition 2.
struct GribField {
  std::int64_t message = 0;  ///< counted from 1
  bool is_lat_lon = false;   ///< on a regular latitude-longitude grid
  int member = 0;            ///< perturbation number of an ensemble
};

struct GribScan {
  std::vector<GribField> fields;  ///< in the order of the file, which is that of GDAL's bands
  std::int64_t end = 0;           ///< where the last message ends; some files have rubbish after it
};

/// Walk over the messages of a file, reading their headers (WMO Manual on Codes, FM 92; members of
/// edition 1 by ECMWF's local definitions). Throws DataError for damaged and truncated messages.
GribScan scan_grib(const std::string& path);

}  // namespace trib::io
