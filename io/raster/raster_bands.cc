#include "io/raster/raster_bands.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include <cpl_string.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gdal_priv.h>

#include "io/raster/spectral_metadata.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

/// The nodata value as RasterIO delivers it to a float buffer; none if the band has none or NaN.
std::optional<float> find_nodata(GDALRasterBand& band) {
  int has_nodata = 0;
  float nodata = 0;
  const auto convert = [&](auto value, GDALDataType type) {
    GDALCopyWords(&value, type, 0, &nodata, GDT_Float32, 0, 1);
  };
  switch (band.GetRasterDataType()) {
    case GDT_Int64:
      convert(band.GetNoDataValueAsInt64(&has_nodata), GDT_Int64);
      break;
    case GDT_UInt64:
      convert(band.GetNoDataValueAsUInt64(&has_nodata), GDT_UInt64);
      break;
    default:
      convert(band.GetNoDataValue(&has_nodata), GDT_Float64);
      break;
  }
  if (has_nodata == 0 || std::isnan(nodata)) return {};
  return nodata;
}

bool is_alpha(GDALRasterBand& band) {
  const char* const description = band.GetDescription();
  return band.GetColorInterpretation() == GCI_AlphaBand &&
         (*description == '\0' || EQUAL(description, "alpha"));
}

RasterBand describe_band(GDALDataset& dataset, int number, const BandSpectrum& spectrum,
                         const std::string& path) {
  GDALRasterBand& band = *dataset.GetRasterBand(number);
  const GDALDataType type = band.GetRasterDataType();
  RasterBand described;
  described.dtype = GDALGetDataTypeName(type);
  described.is_alpha = is_alpha(band);
  if (GDALDataTypeIsComplex(type) != 0) {
    throw DataError(
        fmt::format("{}: band {} holds complex samples ({})", path, number, described.dtype));
  }
  described.coding.signed_bytes = has_signed_bytes(band);
  if (described.coding.signed_bytes) described.dtype = "Int8";
  Channel& channel = described.channel;
  channel.units = band.GetUnitType();
  channel.wavelength_nm = spectrum.wavelength_nm;
  channel.fwhm_nm = spectrum.fwhm_nm;
  channel.bad = spectrum.bad;
  channel.name = band.GetDescription();
  if (channel.name.empty() && described.is_alpha) channel.name = "alpha";
  if (channel.name.empty()) {
    channel.name = std::isnan(channel.wavelength_nm) ? fmt::format("B{:02}", number)
                                                     : fmt::format("{}nm", channel.wavelength_nm);
  }
  BandCoding& coding = described.coding;
  coding.number = number;
  coding.sample_bytes = GDALGetDataTypeSizeBytes(type);
  coding.nodata = find_nodata(band);
  coding.scale = band.GetScale();
  coding.offset = band.GetOffset();
  if (coding.scale == 1 && coding.offset == 0) coding.scale = envi_reflectance_scale(dataset);
  const int mask = band.GetMaskFlags();
  coding.own_mask = mask == 0;
  coding.masked = coding.own_mask || ((mask & GMF_PER_DATASET) != 0 && (mask & GMF_ALPHA) == 0);
  return described;
}

}  // namespace

bool has_signed_bytes(GDALRasterBand& band) {
  if (band.GetRasterDataType() != GDT_Byte) return false;
  const char* const pixels = band.GetMetadataItem("PIXELTYPE", "IMAGE_STRUCTURE");
  return pixels != nullptr && EQUAL(pixels, "SIGNEDBYTE");
}

std::vector<RasterBand> describe_bands(const GdalDataset& dataset) {
  const auto guard = dataset.lock();
  const GdalErrors quiet;
  const int count = dataset.gdal().GetRasterCount();
  if (count == 0) {
    const std::vector<std::string> parts = list_subdatasets(dataset);
    throw DataError(fmt::format(
        "{}: has no raster bands{}", dataset.path(),
        parts.empty() ? ""
                      : fmt::format("; open one of its subdatasets: {}", fmt::join(parts, ", "))));
  }
  const std::vector<BandSpectrum> spectra = band_spectra(dataset.gdal());
  std::vector<RasterBand> bands;
  bands.reserve(static_cast<std::size_t>(count));
  std::unordered_map<std::string, int> occurrences;
  for (int number = 1; number <= count; ++number) {
    const BandSpectrum& spectrum = spectra[static_cast<std::size_t>(number - 1)];
    bands.push_back(describe_band(dataset.gdal(), number, spectrum, dataset.path()));
    ++occurrences[bands.back().channel.name];
  }
  const auto alpha = std::find_if(bands.begin(), bands.end(),
                                  [](const RasterBand& band) { return band.is_alpha; });
  for (RasterBand& band : bands) {
    if (alpha != bands.end() && !band.is_alpha) {
      band.coding.alpha = alpha->coding.number;
      band.coding.masked = true;
    }
    std::string& name = band.channel.name;
    if (occurrences.at(name) > 1) name += fmt::format("#{}", band.coding.number);
  }
  return bands;
}

std::shared_ptr<const GeoReference> describe_georeference(const GdalDataset& dataset) {
  const auto guard = dataset.lock();
  const GdalErrors quiet;
  GeoReference geo;
  const bool placed = dataset.gdal().GetGeoTransform(geo.transform.data()) == CE_None;
  geo.crs_wkt = dataset.gdal().GetProjectionRef();
  if (!placed && geo.crs_wkt.empty()) return nullptr;
  return std::make_shared<const GeoReference>(std::move(geo));
}

std::vector<std::string> list_subdatasets(const GdalDataset& dataset) {
  const auto guard = dataset.lock();
  char** items = dataset.gdal().GetMetadata("SUBDATASETS");
  std::vector<std::string> names;
  for (int i = 1;; ++i) {
    const char* name = CSLFetchNameValue(items, fmt::format("SUBDATASET_{}_NAME", i).c_str());
    if (name == nullptr) return names;
    names.emplace_back(name);
  }
}

}  // namespace trib::io
