#include <algorithm>
#include <string>

#include <cpl_string.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gdal_priv.h>
#include <ogr_spatialref.h>

#include "io/hdf5_lock.h"
#include "io/raster/gdal_dataset.h"
#include "io/raster/raster_bands.h"
#include "io/raster/raster_source.h"
#include "io/typical_reads.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string describe_crs(const GDALDataset& dataset) {
  const OGRSpatialReference* crs = dataset.GetSpatialRef();
  if (crs == nullptr) return "none";
  const char* authority = crs->GetAuthorityName(nullptr);
  const char* code = crs->GetAuthorityCode(nullptr);
  const char* name = crs->GetName();
  const std::string title = name != nullptr ? name : "unnamed";
  return authority != nullptr && code != nullptr ? fmt::format("{}:{} {}", authority, code, title)
                                                 : title;
}

std::string describe_note(const RasterBand& band) {
  std::vector<std::string> notes;
  const BandCoding& coding = band.coding;
  if (coding.nodata) notes.push_back(fmt::format("nodata {}", *coding.nodata));
  if (coding.masked) notes.emplace_back("has a mask");
  if (coding.scale != 1 || coding.offset != 0) {
    notes.push_back(fmt::format("value = stored * {} + {}", coding.scale, coding.offset));
  }
  if (band.channel.wavelength_nm == band.channel.wavelength_nm) {
    notes.push_back(fmt::format("{} nm", band.channel.wavelength_nm));
  }
  if (!band.channel.units.empty()) notes.push_back(band.channel.units);
  return fmt::format("{}", fmt::join(notes, ", "));
}

void add_facts(GDALDataset& dataset, FileReport& report) {
  const auto add = [&](const char* name, std::string value) {
    report.facts.emplace_back(name, std::move(value));
  };
  add("size",
      fmt::format("{} rows x {} columns", dataset.GetRasterYSize(), dataset.GetRasterXSize()));
  add("bands", fmt::format("{}", dataset.GetRasterCount()));
  if (const char* interleave = dataset.GetMetadataItem("INTERLEAVE", "IMAGE_STRUCTURE")) {
    add("interleave", interleave);
  }
  add("coordinate system", describe_crs(dataset));
  GeoReference geo;
  if (dataset.GetGeoTransform(geo.transform.data()) == CE_None) {
    add("geotransform", fmt::format("{}", fmt::join(geo.transform, ", ")));
  }
  if (dataset.GetRasterCount() > 0) {
    add("overviews", fmt::format("{}", dataset.GetRasterBand(1)->GetOverviewCount()));
  }
}

PixelStorage storage_of(GDALDataset& dataset, const Extent& window) {
  GDALRasterBand& band = *dataset.GetRasterBand(1);
  int block_width = 1, block_height = 1;
  band.GetBlockSize(&block_width, &block_height);
  const char* interleave = dataset.GetMetadataItem("INTERLEAVE", "IMAGE_STRUCTURE");
  const bool by_pixel = interleave != nullptr && std::string(interleave) == "PIXEL";
  const std::int64_t bands = dataset.GetRasterCount();
  const auto axis = [](std::int64_t extent, std::int64_t chunk, std::int64_t wanted) {
    return AxisRead{extent, chunk, std::min(wanted, extent)};
  };
  PixelStorage storage;
  storage.element_bytes = GDALGetDataTypeSizeBytes(band.GetRasterDataType());
  storage.channel = axis(bands, by_pixel ? bands : 1, bands);
  storage.row = axis(dataset.GetRasterYSize(), block_height, window.height);
  storage.column = axis(dataset.GetRasterXSize(), block_width, window.width);
  // GDAL calls libraries that serve one thread at a time for these.
  const std::string driver = dataset.GetDriver()->GetDescription();
  storage.in_parallel = !driver.starts_with("HDF") && driver != "netCDF" && driver != "BAG";
  return storage;
}

}  // namespace

std::optional<FileReport> inspect_raster(const std::string& path, const Extent& window) {
  prepare_gdal();
  // Identifying a format may call into the HDF5 family.
  const std::lock_guard guard(hdf5_family_lock());
  {
    const GdalErrors quiet;
    VSIStatBufL status;
    const bool is_file = VSIStatL(path.c_str(), &status) == 0;
    if (GDALIdentifyDriverEx(path.c_str(), GDAL_OF_RASTER, nullptr, nullptr) == nullptr) {
      if (!is_file) throw DataError(fmt::format("{}: there is no such file", path));
      return {};
    }
  }
  const GdalDataset dataset(path);
  const GdalErrors quiet;
  GDALDataset& gdal = dataset.gdal();
  FileReport report;
  report.format = gdal.GetDriver()->GetMetadataItem(GDAL_DMD_LONGNAME);
  add_facts(gdal, report);
  for (const std::string& part : list_subdatasets(dataset)) {
    report.facts.emplace_back("subdataset", part);
  }
  if (gdal.GetRasterCount() == 0) return report;

  add_typical_reads(storage_of(gdal, window), report);
  const char* compression = gdal.GetMetadataItem("COMPRESSION", "IMAGE_STRUCTURE");
  for (const RasterBand& band : describe_bands(dataset)) {
    int block_width = 0;
    int block_height = 0;
    gdal.GetRasterBand(band.coding.number)->GetBlockSize(&block_width, &block_height);
    report.variables.push_back(
        {band.channel.name, band.dtype,
         fmt::format("[{}, {}]", gdal.GetRasterYSize(), gdal.GetRasterXSize()),
         fmt::format("[{}, {}]", block_height, block_width),
         compression != nullptr ? compression : "", describe_note(band)});
    report.channels.push_back(band.channel);
  }
  return report;
}

}  // namespace trib::io
