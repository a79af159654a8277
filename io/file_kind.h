// What a file is, by its first bytes and not by its name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trib::io {

enum class FileKind : std::uint8_t { netcdf_classic, hdf5, zip, grib, empty, other };

/// Look at the first bytes of a file. A netCDF-4 file is an HDF5 file. Throws DataError if the file
/// cannot be opened.
FileKind file_kind(const std::string& path);

/// Name for people: "a ZIP archive", "GRIB", ...
std::string_view describe(FileKind kind);

/// Throw DataError unless `path` may be a NetCDF file and, if it is a classic one, is as long as
/// its header promises: libnetcdf reads zeros past the end of a truncated file without an error.
void check_netcdf_file(const std::string& path);

}  // namespace trib::io
