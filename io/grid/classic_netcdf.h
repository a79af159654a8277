// The header of classic NetCDF files (CDF-1, CDF-2 and CDF-5), as far as their length goes.
#pragma once

#include <cstdint>
#include <string>

namespace trib::io {

/// Where the data of a classic file end.
struct ClassicExtent {
  std::int64_t bytes = 0;     ///< length the file must have at least
  std::string last_variable;  ///< variable whose data end there
};

/// Compute from its header how long a classic file must be (NetCDF Classic Format Specification,
/// Unidata). Throws DataError if the header is damaged.
ClassicExtent classic_extent(const std::string& path);

}  // namespace trib::io
