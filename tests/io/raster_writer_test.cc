#include "io/raster/raster_writer.h"

#include <cmath>
#include <filesystem>
#include <random>

#include <cpl_string.h>
#include <fmt/format.h>
#include <gdal_priv.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/raster/gdal_dataset.h"
#include "io/raster/raster_source.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<Channel> channels() {
  return {{"B04", "reflectance", 664.5}, {"t2m", "K"}};
}

/// UTM zone 33, north-up.
GeoReference place() {
  OGRSpatialReference reference;
  reference.importFromEPSG(32633);
  char* wkt = nullptr;
  reference.exportToWkt(&wkt);
  GeoReference geo{wkt, {500000, 10, 0, 5600000, 0, -10}};
  CPLFree(wkt);
  return geo;
}

std::vector<float> pixels_of(const Extent& extent, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> pixels(static_cast<std::size_t>(2 * extent.height * extent.width));
  for (float& value : pixels) {
    value = std::uniform_real_distribution<float>(0, 300)(random);
  }
  pixels[3] = kNan;
  return pixels;
}

Image read_back(const std::string& path) {
  RasterOptions options;
  options.files = {path};
  return open_raster(options)->read(0);
}

struct Way {
  RasterStorage::Format format;
  RasterStorage::Compression compression;
  bool predictor;
};

std::vector<Way> ways() {
  using Format = RasterStorage::Format;
  using Compression = RasterStorage::Compression;
  return {{Format::gtiff, Compression::deflate, true}, {Format::gtiff, Compression::zstd, false},
          {Format::gtiff, Compression::none, true},    {Format::cog, Compression::deflate, true},
          {Format::cog, Compression::zstd, true},      {Format::cog, Compression::none, false}};
}

TEST(RasterWriter, WritesWhatIsReadAgain) {
  const test::TempDir dir;
  const Extent extent{70, 600};
  const GeoReference geo = place();
  std::vector<float> pixels = pixels_of(extent, 1);
  for (const Way& way : ways()) {
    RasterStorage storage;
    storage.format = way.format;
    storage.compression = way.compression;
    storage.predictor = way.predictor;
    const std::string path = dir.file("some/folder/image.tif");
    write_raster(path, storage, channels(), extent, pixels.data(), &geo);
    const Image image = read_back(path);
    ASSERT_EQ(image.data_cyx.shape(), (Shape{2, 70, 600}));
    const float* values = image.data_cyx.data<float>();
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      ASSERT_TRUE(i == 3 ? std::isnan(values[i]) : values[i] == pixels[i]) << i;
    }
    ASSERT_NE(image.provenance.geo, nullptr);
    EXPECT_EQ(image.provenance.geo->transform, geo.transform);
    EXPECT_THAT(image.provenance.geo->crs_wkt, HasSubstr("UTM zone 33N"));

    RasterOptions options;
    options.files = {path};
    const std::vector<Channel> found = open_raster(options)->channels();
    EXPECT_EQ(found[0].name, "B04");
    EXPECT_EQ(found[0].units, "reflectance");
    EXPECT_DOUBLE_EQ(found[0].wavelength_nm, 664.5);
    EXPECT_EQ(found[1].name, "t2m");
    EXPECT_EQ(found[1].units, "K");

    const GdalDataset dataset(path);
    const char* layout = dataset.gdal().GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE");
    EXPECT_EQ(layout != nullptr && std::string(layout) == "COG",
              way.format == RasterStorage::Format::cog);
    // Nothing is left beside it.
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.file("some/folder")), {}), 1);
  }
}

TEST(RasterWriter, PacksValuesIntoIntegers) {
  const test::TempDir dir;
  const std::string path = dir.file("packed.tif");
  const std::vector<float> pixels = {0, 0.12344F, -5, 1e9F, kNan, 6.5534F, 6.5535F, 1,
                                     0, 0,        0,  0,    0,    0,       0,       0};
  RasterStorage storage;
  storage.dtype = DType::u16;
  storage.scale = 1e-4;
  write_raster(path, storage, channels(), {2, 4}, pixels.data(), nullptr);
  const Image image = read_back(path);
  const float* values = image.data_cyx.data<float>();
  EXPECT_FLOAT_EQ(values[0], 0);
  EXPECT_FLOAT_EQ(values[1], 0.1234F);
  EXPECT_FLOAT_EQ(values[2], 0);  // nearest there is
  EXPECT_FLOAT_EQ(values[3], 6.5534F);
  EXPECT_TRUE(std::isnan(values[4]));
  EXPECT_FLOAT_EQ(values[5], 6.5534F);
  EXPECT_FLOAT_EQ(values[6], 6.5534F);  // 65535 means missing
  EXPECT_FLOAT_EQ(values[7], 1);
  EXPECT_EQ(image.provenance.geo, nullptr);

  storage.dtype = DType::i16;
  storage.offset = -3;
  storage.nodata = 0;
  write_raster(path, storage, channels(), {2, 4}, pixels.data(), nullptr);
  const Image other = read_back(path);
  EXPECT_NEAR(other.data_cyx.data<float>()[1], 0.12344F, 6e-5);
  EXPECT_TRUE(std::isnan(other.data_cyx.data<float>()[4]));
}

TEST(RasterWriter, RefusesStorageThatCannotBe) {
  RasterStorage storage;
  storage.scale = 2;
  EXPECT_THROW(storage.check(), ConfigError);
  storage.dtype = DType::u16;
  EXPECT_NO_THROW(storage.check());
  storage.nodata = -1;
  EXPECT_THROW(storage.check(), ConfigError);
  storage.nodata = 1.5;
  EXPECT_THROW(storage.check(), ConfigError);
  storage.nodata = 0;
  storage.scale = 0;
  EXPECT_THROW(storage.check(), ConfigError);
}

TEST(RasterWriter, SaysWhatFileCannotBeWritten) {
  const test::TempDir dir;
  std::filesystem::create_directory(dir.file("taken.tif"));
  const std::vector<float> pixels(8, 1);
  try {
    write_raster(dir.file("taken.tif"), {}, channels(), {2, 2}, pixels.data(), nullptr);
    FAIL();
  } catch (const RuntimeError& error) {
    EXPECT_THAT(error.what(), HasSubstr("taken.tif"));
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(RasterWriter, PlacesWindowsOfTurnedAndScaledRasters) {
  const GeoReference turned{"", {100, 2, 0.5, 200, 0.25, -3}};
  const GeoReference part = georeference_of(turned, {10, 20, 8, 6}, {8, 6});
  EXPECT_EQ(part.transform, (std::array<double, 6>{100 + 40 + 5, 2, 0.5, 200 + 5 - 30, 0.25, -3}));
  const GeoReference finer = georeference_of(turned, {10, 20, 8, 6}, {16, 24});
  EXPECT_EQ(finer.transform, (std::array<double, 6>{145, 0.5, 0.25, 175, 0.0625, -1.5}));
}

TEST(RasterMosaic, PutsWindowsTogether) {
  const test::TempDir dir;
  const Extent extent{90, 120};
  const std::vector<float> pixels = pixels_of(extent, 5);
  for (const bool turned : {false, true}) {
    for (const Way& way : ways()) {
      GeoReference geo = place();
      if (turned) geo.transform = {500000, 8, 3, 5600000, 3, -8};
      RasterStorage storage;
      storage.format = way.format;
      storage.compression = way.compression;
      storage.predictor = way.predictor;
      const std::string path = dir.file("folder/mosaic.tif");
      RasterMosaic mosaic(path, storage, channels(), std::make_shared<GeoReference>(geo));
      // All but one of the tiles of 30 x 30 pixels from (30, 0) on, the last first.
      std::vector<float> tile(2 * 30 * 30);
      for (int t = 7; t > 0; --t) {
        const Window w{30 + t / 4 * 30, t % 4 * 30, 30, 30};
        for (std::int64_t i = 0; i < std::ssize(tile); ++i) {
          const std::int64_t c = i / 900, y = w.y + i / 30 % 30, x = w.x + i % 30;
          tile[static_cast<std::size_t>(i)] =
              pixels[static_cast<std::size_t>((c * 90 + y) * 120 + x)];
        }
        mosaic.add(w, tile.data());
      }
      mosaic.finish();
      const Image image = read_back(path);
      ASSERT_EQ(image.data_cyx.shape(), (Shape{2, 60, 120}));
      for (std::int64_t i = 0; i < 2 * 60 * 120; ++i) {
        const std::int64_t c = i / 7200, y = i / 120 % 60, x = i % 120;
        const float value = image.data_cyx.data<float>()[i];
        const float expected = pixels[static_cast<std::size_t>((c * 90 + 30 + y) * 120 + x)];
        if (y < 30 && x < 30) {
          ASSERT_TRUE(std::isnan(value));
        } else {
          ASSERT_EQ(value, expected) << i;
        }
      }
      ASSERT_NE(image.provenance.geo, nullptr);
      const GeoReference expected = georeference_of(geo, {30, 0, 60, 120}, {60, 120});
      EXPECT_EQ(image.provenance.geo->transform, expected.transform);
      EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.file("folder")), {}), 1);
    }
  }
}

}  // namespace
}  // namespace trib::io
