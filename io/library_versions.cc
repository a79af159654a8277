#include "io/library_versions.h"

#include <string_view>

#include <fmt/format.h>
#include <gdal.h>
#include <hdf5.h>
#include <netcdf.h>

namespace trib::io {

std::vector<std::pair<std::string, std::string>> library_versions() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  // "4.9.0 of Jan  2 2023 ..."
  const std::string_view netcdf = nc_inq_libvers();
  return {{"GDAL", GDALVersionInfo("RELEASE_NAME")},
          {"HDF5", fmt::format("{}.{}.{}", major, minor, release)},
          {"netCDF", std::string(netcdf.substr(0, netcdf.find(' ')))}};
}

}  // namespace trib::io
