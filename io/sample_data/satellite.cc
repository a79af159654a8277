#include <memory>
#include <type_traits>

#include <cpl_conv.h>
#include <cpl_string.h>
#include <fmt/format.h>
#include <gdal.h>
#include <ogr_srs_api.h>

#include "io/sample_data/land_scene.h"
#include "io/sample_data/writers.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

/// A GeoTIFF being written: UTM zone 33N, tiles, deflate.
class GeoTiff {
 public:
  GeoTiff(std::string path, int size, int bands, GDALDataType type) : path_(std::move(path)) {
    char** options = nullptr;
    options = CSLSetNameValue(options, "TILED", "YES");
    options = CSLSetNameValue(options, "BLOCKXSIZE", "128");
    options = CSLSetNameValue(options, "BLOCKYSIZE", "128");
    options = CSLSetNameValue(options, "COMPRESS", "DEFLATE");
    options = CSLSetNameValue(options, "PREDICTOR", "2");
    options = CSLSetNameValue(options, "INTERLEAVE", "BAND");
    dataset_.reset(
        GDALCreate(GDALGetDriverByName("GTiff"), path_.c_str(), size, size, bands, type, options));
    CSLDestroy(options);
    if (dataset_ == nullptr) fail();
  }

  /// Place the upper left corner, in metres; pixels are 10 m.
  void georeference(double east, double north) {
    double transform[6] = {east, 10, 0, north, 0, -10};
    const std::unique_ptr<std::remove_pointer_t<OGRSpatialReferenceH>,
                          decltype(&OSRDestroySpatialReference)>
        utm(OSRNewSpatialReference(nullptr), OSRDestroySpatialReference);
    char* wkt = nullptr;
    check(GDALSetGeoTransform(dataset_.get(), transform) == CE_None);
    check(OSRImportFromEPSG(utm.get(), 32633) == OGRERR_NONE);
    check(OSRExportToWkt(utm.get(), &wkt) == OGRERR_NONE);
    const CPLErr status = GDALSetProjection(dataset_.get(), wkt);
    CPLFree(wkt);
    check(status == CE_None);
  }

  void note(const char* key, const char* value) {
    check(GDALSetMetadataItem(dataset_.get(), key, value, nullptr) == CE_None);
  }

  GDALRasterBandH band(int index) { return GDALGetRasterBand(dataset_.get(), index + 1); }

  /// Write all bands, [band, y, x].
  void write(const void* pixels, GDALDataType type) {
    const int size = GDALGetRasterXSize(dataset_.get());
    check(GDALDatasetRasterIO(dataset_.get(), GF_Write, 0, 0, size, size, const_cast<void*>(pixels),
                              size, size, type, GDALGetRasterCount(dataset_.get()), nullptr, 0, 0,
                              0) == CE_None);
  }

  /// Close the file; what is still to be written may fail now.
  void close() {
    CPLErrorReset();
    dataset_.reset();
    check(CPLGetLastErrorType() < CE_Failure);
  }

  void check(bool is_good) const {
    if (!is_good) fail();
  }

 private:
  [[noreturn]] void fail() const {
    throw RuntimeError(fmt::format("cannot write {}: {}", path_, CPLGetLastErrorMsg()));
  }

  std::string path_;
  std::unique_ptr<std::remove_pointer_t<GDALDatasetH>, decltype(&GDALClose)> dataset_{nullptr,
                                                                                      GDALClose};
};

void write_scene(const std::string& path, const LandScene& scene, double east, double north) {
  GeoTiff file(path, scene.size, kSceneBands, GDT_UInt16);
  file.georeference(east, north);
  file.note("TIFFTAG_IMAGEDESCRIPTION", "made-up surface reflectance");
  for (int b = 0; b < kSceneBands; ++b) {
    GDALSetDescription(file.band(b), kSceneBandNames[static_cast<std::size_t>(b)]);
    file.check(GDALSetRasterScale(file.band(b), 1e-4) == CE_None);
    file.check(GDALSetRasterOffset(file.band(b), 0) == CE_None);
    file.check(GDALSetRasterNoDataValue(file.band(b), 0) == CE_None);
  }
  file.write(scene.reflectance.data(), GDT_UInt16);
  file.close();
}

void write_classes(const std::string& path, const LandScene& scene, double east, double north) {
  GeoTiff file(path, scene.size, 1, GDT_Byte);
  file.georeference(east, north);
  file.note("CLASSES", "0 none, 1 water, 2 soil, 3 crop, 4 forest, 5 urban");
  GDALSetDescription(file.band(0), "class");
  file.check(GDALSetRasterNoDataValue(file.band(0), 0) == CE_None);
  file.write(scene.cover.data(), GDT_Byte);
  file.close();
}

}  // namespace

std::vector<std::string> write_satellite(const std::string& folder,
                                         const SampleDataOptions& options) {
  GDALAllRegister();
  const RandomStream random(options.seed, "sample data: satellite");
  std::vector<std::string> files;
  for (int i = 0; i < options.scenes; ++i) {
    const LandScene scene =
        make_land_scene(random.substream(static_cast<std::uint64_t>(i)), options.scene_size);
    const double east = 390'000 + 50'000.0 * (i % 4), north = 5'820'000 - 50'000.0 * (i / 4);
    files.push_back(fmt::format("{}/scene_{:02}.tif", folder, i));
    write_scene(files.back(), scene, east, north);
    files.push_back(fmt::format("{}/classes/scene_{:02}.tif", folder, i));
    write_classes(files.back(), scene, east, north);
  }
  return files;
}

}  // namespace trib::io
