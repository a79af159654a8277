// Rasters whose pixels lie in a file of nothing else, described by a header beside it.
#pragma once

#include <string>
#include <string_view>

class GDALDataset;

namespace trib::io {

/// GDAL reads zeros where such a file ends early, and guesses what its header leaves out. Throws
/// DataError if `path`, opened as `dataset`, is shorter than its header promises, or if an ENVI
/// header does not say how pixels are stored.
void check_raw_file(GDALDataset& dataset, const std::string& path);

/// The data file of an ENVI header (.hdr), whose name GDAL wants; other names are left as they are.
/// Throws DataError if it is not there.
std::string data_file_of(const std::string& path);

/// Whether a file that GDAL opened with this driver only lies beside a header of the same name, and
/// is a virtual raster or a NetCDF or HDF5 file by its content.
bool is_mistaken_for_raw(const std::string& path, std::string_view driver);

}  // namespace trib::io
