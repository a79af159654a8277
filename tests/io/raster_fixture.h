// Rasters made for tests.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gdal_priv.h>
#include <gtest/gtest.h>
#include <ogr_spatialref.h>

#include "io/raster/gdal_dataset.h"
#include "io/raster/raster_source.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::io {

/// A GeoTIFF to write. Pixel [band, y, x] is value(band, y, x), band from 0.
struct TestRaster {
  int bands = 1, height = 8, width = 8;
  GDALDataType type = GDT_Float32;
  std::function<double(int, int, int)> value = [](int c, int y, int x) {
    return 10000.0 * c + 100.0 * y + x;
  };
  int epsg = 32632;  ///< 0: none
  std::optional<std::array<double, 6>> transform =
      std::array<double, 6>{500000, 10, 0, 4000000, 0, -10};
  int alpha = 0;                     ///< number of the alpha band
  std::vector<const char*> options;  ///< of creation, "COMPRESS=LZW"
  std::function<void(GDALDataset&)> finish = [](GDALDataset&) {};
};

inline void write_raster(const std::string& path, const TestRaster& raster) {
  prepare_gdal();
  GDALDriver* driver = GetGDALDriverManager()->GetDriverByName("GTiff");
  std::vector<const char*> options = raster.options;
  options.push_back(nullptr);
  GDALDataset* dataset = driver->Create(path.c_str(), raster.width, raster.height, raster.bands,
                                        raster.type, const_cast<char**>(options.data()));
  ASSERT_NE(dataset, nullptr) << path;
  if (raster.epsg != 0) {
    OGRSpatialReference system;
    system.importFromEPSG(raster.epsg);
    dataset->SetSpatialRef(&system);
  }
  if (raster.transform) {
    std::array<double, 6> transform = *raster.transform;
    dataset->SetGeoTransform(transform.data());
  }
  if (raster.alpha != 0) {
    dataset->GetRasterBand(raster.alpha)->SetColorInterpretation(GCI_AlphaBand);
  }
  for (int c = 0; c < raster.bands; ++c) {
    std::vector<double> plane;
    for (int y = 0; y < raster.height; ++y) {
      for (int x = 0; x < raster.width; ++x) plane.push_back(raster.value(c, y, x));
    }
    EXPECT_EQ(dataset->GetRasterBand(c + 1)->RasterIO(GF_Write, 0, 0, raster.width, raster.height,
                                                      plane.data(), raster.width, raster.height,
                                                      GDT_Float64, 0, 0, nullptr),
              CE_None);
  }
  raster.finish(*dataset);
  GDALClose(dataset);
}

/// Give a dataset overviews by these factors, each of one value: 1000 * factor.
inline void add_telling_overviews(GDALDataset& dataset, std::vector<int> factors) {
  ASSERT_EQ(dataset.BuildOverviews("NONE", static_cast<int>(factors.size()), factors.data(), 0,
                                   nullptr, nullptr, nullptr),
            CE_None);
  for (int c = 1; c <= dataset.GetRasterCount(); ++c) {
    for (std::size_t i = 0; i < factors.size(); ++i) {
      GDALRasterBand* band = dataset.GetRasterBand(c)->GetOverview(static_cast<int>(i));
      EXPECT_EQ(band->Fill(1000.0 * factors[i]), CE_None);
    }
  }
}

/// A folder of files and what reading them gives.
class RasterTest : public testing::Test {
 protected:
  std::string write(const std::string& name, const TestRaster& raster) const {
    write_raster(temp_.file(name), raster);
    return temp_.file(name);
  }
  RasterOptions files(const std::string& pattern) const {
    RasterOptions options;
    options.files = {temp_.file(pattern)};
    return options;
  }
  static Image read(const RasterOptions& options, std::int64_t index = 0) {
    return open_raster(options)->read(index);
  }
  static float at(const Image& image, std::int64_t c, std::int64_t y, std::int64_t x) {
    const Tensor& t = image.data_cyx;
    return t.data<float>()[(c * t.dim(1) + y) * t.dim(2) + x];
  }
  static std::vector<float> plane(const Image& image, std::int64_t c = 0) {
    const Tensor one = image.data_cyx.select(0, c);
    return {one.data<float>(), one.data<float>() + one.numel()};
  }
  /// The error of opening the files and reading all images.
  template <class Expected = DataError>
  static std::string message(const RasterOptions& options) {
    try {
      const auto source = open_raster(options);
      for (std::int64_t i = 0; i < source->size(); ++i) source->read(i);
    } catch (const Expected& error) {
      return error.what();
    }
    return "";
  }
  test::TempDir temp_;
};

}  // namespace trib::io
