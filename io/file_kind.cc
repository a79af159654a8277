#include "io/file_kind.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "io/grid/classic_netcdf.h"
#include "io/opening_file.h"
#include "ops/base/error.h"

namespace trib::io {

namespace {

constexpr std::string_view kHdf5Signature("\x89HDF\r\n\x1a\n");

/// HDF5 files may start with a block of the user's, as MATLAB's do: of 512 bytes or a power of two
/// more.
bool is_hdf5_behind_user_block(std::ifstream& file) {
  constexpr std::streamoff kSmallest = 512, kLargest = 1 << 20;
  file.clear();
  for (std::streamoff at = kSmallest; at <= kLargest; at *= 2) {
    std::array<char, kHdf5Signature.size()> found{};
    if (!file.seekg(at) || !file.read(found.data(), found.size())) return false;
    if (std::string_view(found.data(), found.size()) == kHdf5Signature) return true;
  }
  return false;
}

// Where to unpack an archive: beside it, under its name without the ending.
std::string folder_beside(const std::string& path) {
  const std::filesystem::path stem = std::filesystem::path(path).replace_extension();
  return stem == path ? path + "_files" : stem.string();
}

}  // namespace

FileKind file_kind(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    throw DataError(fmt::format("{}: is a folder, expected a file", path));
  }
  if (path.starts_with("/vsi")) {
    throw DataError(fmt::format(
        "{}: only rasters can be read where they are in an archive; unpack it first", path));
  }
  const OpeningFile opening(path);
  std::ifstream file(path, std::ios::binary);
  if (!file) throw DataError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  std::array<char, 8> head{};
  file.read(head.data(), head.size());
  const std::string_view magic(head.data(), static_cast<std::size_t>(file.gcount()));
  if (magic.empty()) return FileKind::empty;
  if (magic.substr(0, 3) == "CDF") return FileKind::netcdf_classic;
  if (magic == kHdf5Signature) return FileKind::hdf5;
  if (magic.substr(0, 4) == "PK\x03\x04") return FileKind::zip;
  if (magic.substr(0, 4) == "GRIB") return FileKind::grib;
  return is_hdf5_behind_user_block(file) ? FileKind::hdf5 : FileKind::other;
}

std::string_view describe(FileKind kind) {
  switch (kind) {
    case FileKind::netcdf_classic:
      return "a classic NetCDF file";
    case FileKind::hdf5:
      return "an HDF5 file";
    case FileKind::zip:
      return "a ZIP archive";
    case FileKind::grib:
      return "a GRIB file";
    case FileKind::empty:
      return "an empty file";
    case FileKind::other:
      break;
  }
  return "a file of another format";
}

void check_netcdf_file(const std::string& path) {
  const FileKind kind = file_kind(path);
  switch (kind) {
    case FileKind::hdf5:
      return;
    case FileKind::zip:
      throw DataError(fmt::format(
          "{0}: is a ZIP archive, as the CDS packs several files of NetCDF; unpack it with: unzip "
          "'{0}' -d '{1}', and read '{1}/*.nc'",
          path, folder_beside(path)));
    case FileKind::grib:
      throw DataError(fmt::format(
          "{}: is a GRIB file, not NetCDF: download as NetCDF or convert it (cdo -f nc4 copy)",
          path));
    case FileKind::empty:
    case FileKind::other:
      throw DataError(fmt::format("{}: is {}, expected NetCDF", path, describe(kind)));
    case FileKind::netcdf_classic:
      break;
  }
  const ClassicExtent extent = classic_extent(path);
  const auto found = static_cast<std::int64_t>(std::filesystem::file_size(path));
  if (found < extent.bytes) {
    throw DataError(
        fmt::format("{}: truncated: {} bytes, its header promises {} (variable {} ends "
                    "there)",
                    path, found, extent.bytes, extent.last_variable));
  }
}

}  // namespace trib::io
