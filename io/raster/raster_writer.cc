#include "io/raster/raster_writer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <cpl_string.h>
#include <fmt/format.h>
#include <gdal_priv.h>

#include "io/pending_file.h"
#include "io/raster/gdal_dataset.h"
#include "io/raster/pending_raster.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

struct Range {
  double least, most;
};

Range range_of(DType dtype) {
  if (dtype == DType::i16) return {-32768, 32767};
  return {0, 65535};
}

GDALDataType gdal_type(DType dtype) {
  if (dtype == DType::i16) return GDT_Int16;
  if (dtype == DType::u16) return GDT_UInt16;
  return GDT_Float32;
}

}  // namespace

double RasterStorage::missing() const {
  if (nodata) return *nodata;
  if (dtype == DType::i16) return -32768;
  if (dtype == DType::u16) return 65535;
  return std::numeric_limits<double>::quiet_NaN();
}

void RasterStorage::check() const {
  if (dtype == DType::f32) {
    if (scale != 1 || offset != 0) throw ConfigError("scale and offset are for int16 and uint16");
    return;
  }
  if (!std::isfinite(scale) || scale == 0 || !std::isfinite(offset)) {
    throw ConfigError(
        fmt::format("values cannot be stored with scale {} and offset {}", scale, offset));
  }
  const Range range = range_of(dtype);
  if (nodata &&
      !(*nodata >= range.least && *nodata <= range.most && *nodata == std::floor(*nodata))) {
    throw ConfigError(fmt::format("nodata {} is not one of the values {} to {} of {}", *nodata,
                                  range.least, range.most, name_of(dtype)));
  }
}

GeoReference georeference_of(const GeoReference& raster, const Window& window,
                             const Extent& stored) {
  GeoReference geo = raster;
  const auto& t = raster.transform;
  const double y = static_cast<double>(window.y), x = static_cast<double>(window.x);
  const double finer_y = static_cast<double>(window.height) / static_cast<double>(stored.height);
  const double finer_x = static_cast<double>(window.width) / static_cast<double>(stored.width);
  geo.transform = {t[0] + x * t[1] + y * t[2], t[1] * finer_x, t[2] * finer_y,
                   t[3] + x * t[4] + y * t[5], t[4] * finer_x, t[5] * finer_y};
  return geo;
}

PendingRaster::PendingRaster(const std::string& path, const RasterStorage& storage)
    : path_(path), temporary_(temporary_name(path)), storage_(storage) {
  prepare_gdal();
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) throw RuntimeError(fmt::format("{}: {}", folder.string(), error.message()));
}

PendingRaster::~PendingRaster() {
  std::error_code ignored;
  if (!committed_) std::filesystem::remove(temporary_, ignored);
}

void PendingRaster::describe(GDALDataset& dataset, const std::vector<Channel>& channels,
                             const GeoReference* geo) const {
  const GdalErrors errors;
  if (geo != nullptr) {
    GeoReference place = *geo;
    dataset.SetGeoTransform(place.transform.data());
    if (!place.crs_wkt.empty()) dataset.SetProjection(place.crs_wkt.c_str());
  }
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const Channel& channel = channels[c];
    GDALRasterBand& band = *dataset.GetRasterBand(static_cast<int>(c) + 1);
    band.SetDescription(channel.name.c_str());
    if (!channel.units.empty()) band.SetUnitType(channel.units.c_str());
    band.SetNoDataValue(storage_.missing());
    if (storage_.dtype != DType::f32) {
      band.SetScale(storage_.scale);
      band.SetOffset(storage_.offset);
    }
    if (!std::isnan(channel.wavelength_nm)) {
      band.SetMetadataItem("wavelength", fmt::format("{}", channel.wavelength_nm).c_str());
      band.SetMetadataItem("wavelength_units", "nm");
    }
  }
  if (errors.any()) fail(errors.text());
}

void PendingRaster::fill(GDALDataset& dataset, const Window& window, const float* data_cyx) const {
  const auto width = static_cast<int>(window.width);
  const auto height = static_cast<int>(window.height);
  const std::int64_t plane = window.height * window.width;
  std::vector<float> stored(static_cast<std::size_t>(plane));
  for (int number = 1; number <= dataset.GetRasterCount(); ++number) {
    encode(data_cyx + (number - 1) * plane, stored);
    const GdalErrors errors;
    if (dataset.GetRasterBand(number)->RasterIO(
            GF_Write, static_cast<int>(window.x), static_cast<int>(window.y), width, height,
            stored.data(), width, height, GDT_Float32, 0, 0, nullptr) != CE_None ||
        errors.any()) {
      fail(errors.text());
    }
  }
}

/// Values as they are stored: 16 bits fit into a float.
void PendingRaster::encode(const float* values, std::vector<float>& stored) const {
  const auto missing = static_cast<float>(storage_.missing());
  if (storage_.dtype == DType::f32) {
    for (std::size_t i = 0; i < stored.size(); ++i) {
      stored[i] = std::isnan(values[i]) ? missing : values[i];
    }
    return;
  }
  const Range range = range_of(storage_.dtype);
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const double number = std::clamp(std::nearbyint((values[i] - storage_.offset) / storage_.scale),
                                     range.least, range.most);
    // A value that is there must not be taken for a missing one.
    const double beside = missing == range.most ? missing - 1.0 : missing + 1.0;
    stored[i] =
        std::isnan(values[i]) ? missing : static_cast<float>(number == missing ? beside : number);
  }
}

void PendingRaster::copy(GDALDataset& from) const {
  const bool is_cog = storage_.format == RasterStorage::Format::cog;
  const bool is_compressed = storage_.compression != RasterStorage::Compression::none;
  CPLStringList options;
  options.SetNameValue("BIGTIFF", "IF_SAFER");
  if (is_compressed) {
    options.SetNameValue(
        "COMPRESS", storage_.compression == RasterStorage::Compression::zstd ? "ZSTD" : "DEFLATE");
  }
  if (is_cog) {
    options.SetNameValue("OVERVIEW_RESAMPLING", "AVERAGE");
    if (!is_compressed) options.SetNameValue("COMPRESS", "NONE");
    if (is_compressed && storage_.predictor) options.SetNameValue("PREDICTOR", "YES");
  } else {
    options.SetNameValue("TILED", "YES");
    if (is_compressed && storage_.predictor) {
      options.SetNameValue("PREDICTOR", storage_.dtype == DType::f32 ? "3" : "2");
    }
  }
  const GdalErrors errors;
  GDALDriver* driver = GetGDALDriverManager()->GetDriverByName(is_cog ? "COG" : "GTiff");
  GDALDataset* written = driver == nullptr ? nullptr
                                           : driver->CreateCopy(temporary_.c_str(), &from, TRUE,
                                                                options.List(), nullptr, nullptr);
  if (written != nullptr) GDALClose(written);
  if (written == nullptr || errors.any()) fail(errors.text());
}

void PendingRaster::commit() {
  commit_file(temporary_, path_);
  committed_ = true;
}

std::unique_ptr<GDALDataset> PendingRaster::create(const char* driver, const std::string& name,
                                                   const Extent& extent, int bands,
                                                   char** options) const {
  constexpr std::int64_t kMaxSide = std::numeric_limits<int>::max();
  if (extent.height > kMaxSide || extent.width > kMaxSide) {
    fail(fmt::format("{} x {} pixels are too many", extent.height, extent.width));
  }
  const GdalErrors errors;
  std::unique_ptr<GDALDataset> dataset(GetGDALDriverManager()->GetDriverByName(driver)->Create(
      name.c_str(), static_cast<int>(extent.width), static_cast<int>(extent.height), bands,
      gdal_type(storage_.dtype), options));
  if (!dataset || errors.any()) fail(errors.text());
  return dataset;
}

void PendingRaster::fail(const std::string& reason) const {
  throw RuntimeError(fmt::format("{}: cannot be written: {}", path_, reason));
}

void write_raster(const std::string& path, const RasterStorage& storage,
                  const std::vector<Channel>& channels, const Extent& extent, const float* data_cyx,
                  const GeoReference* geo) {
  PendingRaster raster(path, storage);
  const auto memory = raster.create("MEM", "", extent, static_cast<int>(channels.size()), nullptr);
  raster.describe(*memory, channels, geo);
  raster.fill(*memory, {0, 0, extent.height, extent.width}, data_cyx);
  raster.copy(*memory);
  raster.commit();
}

}  // namespace trib::io
