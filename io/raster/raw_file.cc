#include "io/raster/raw_file.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include <cpl_vsi.h>
#include <fmt/format.h>
#include <gdal_priv.h>

#include "io/text.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::array<std::string_view, 3> kRawDrivers{"ENVI", "EHdr", "ROI_PAC"};

void check_envi_header(GDALDataset& dataset, const std::string& path) {
  for (const char* field : {"data_type", "interleave"}) {
    if (dataset.GetMetadataItem(field, "ENVI") != nullptr) continue;
    std::string name = field;
    std::replace(name.begin(), name.end(), '_', ' ');
    throw DataError(fmt::format("{}: its header lacks '{}'", path, name));
  }
}

bool is_raw_driver(std::string_view driver) {
  return std::find(kRawDrivers.begin(), kRawDrivers.end(), driver) != kRawDrivers.end();
}

}  // namespace

bool is_mistaken_for_raw(const std::string& path, std::string_view driver) {
  if (!is_raw_driver(driver)) return false;
  std::array<char, 256> head{};
  VSILFILE* const file = VSIFOpenL(path.c_str(), "rb");
  if (file == nullptr) return false;
  const std::string_view start(head.data(), VSIFReadL(head.data(), 1, head.size(), file));
  VSIFCloseL(file);
  return start.find("<VRTDataset") != std::string_view::npos || start.starts_with("\x89HDF\r\n") ||
         start.starts_with("CDF");
}

std::string data_file_of(const std::string& path) {
  namespace fs = std::filesystem;
  if (lower(fs::path(path).extension().string()) != ".hdr" || !fs::is_regular_file(path)) {
    return path;
  }
  const std::string stem = path.substr(0, path.size() - 4);
  for (const char* extension : {"", ".raw", ".dat", ".img", ".bin", ".bsq", ".bil", ".bip"}) {
    if (fs::is_regular_file(stem + extension)) return stem + extension;
  }
  throw DataError(fmt::format("{}: there is no data file beside this header ({}, {}.raw, ...)",
                              path, stem, stem));
}

void check_raw_file(GDALDataset& dataset, const std::string& path) {
  const std::string_view driver = dataset.GetDriver()->GetDescription();
  if (!is_raw_driver(driver)) return;
  if (driver == "ENVI") check_envi_header(dataset, path);
  const auto number = [&](const char* field) {
    const char* text = dataset.GetMetadataItem(field, "ENVI");
    return text == nullptr ? 0LL : std::atoll(text);
  };
  if (dataset.GetRasterCount() == 0 || number("file_compression") != 0) return;
  GDALRasterBand& band = *dataset.GetRasterBand(1);
  // Pixels of less than a byte.
  if (band.GetMetadataItem("NBITS", "IMAGE_STRUCTURE") != nullptr) return;
  VSIStatBufL status;
  if (VSIStatL(path.c_str(), &status) != 0) return;
  const long long expected =
      number("header_offset") + 1LL * dataset.GetRasterXSize() * dataset.GetRasterYSize() *
                                    dataset.GetRasterCount() *
                                    GDALGetDataTypeSizeBytes(band.GetRasterDataType());
  if (static_cast<long long>(status.st_size) >= expected) return;
  throw DataError(fmt::format("{}: truncated: {} bytes, its header promises {}", path,
                              static_cast<long long>(status.st_size), expected));
}

}  // namespace trib::io
