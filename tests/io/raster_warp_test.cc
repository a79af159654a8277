// Other grids, mosaics and overviews.
#include "io/raster/raster_warp.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/io/raster_fixture.h"

namespace trib::io {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class RasterWarpTest : public RasterTest {};

std::array<double, 6> north_up(double left, double top, double size) {
  return {left, size, 0, top, 0, -size};
}

TEST_F(RasterWarpTest, MosaicPutsFilesSideBySide) {
  TestRaster left;
  left.value = [](int, int y, int x) { return 100 * y + x; };
  write("a.tif", left);
  TestRaster right = left;
  right.transform =
      north_up(500000 + 60, 4000000 + 20, 10);  // two columns overlap; two rows higher
  right.value = [](int, int y, int x) { return 5000 + 100 * y + x; };
  write("b.tif", right);
  RasterOptions options = files("*.tif");
  options.mosaic = true;
  const auto source = open_raster(options);
  ASSERT_EQ(source->size(), 1);
  EXPECT_EQ(source->extent(0), (Extent{10, 14}));
  const Image whole = source->read(0);
  EXPECT_TRUE(std::isnan(at(whole, 0, 0, 0)));
  EXPECT_EQ(at(whole, 0, 2, 0), 0);
  EXPECT_EQ(at(whole, 0, 4, 5), 205);
  EXPECT_EQ(at(whole, 0, 0, 6), 5000);
  EXPECT_EQ(at(whole, 0, 4, 7), 5401);  // the later one on top
  EXPECT_TRUE(std::isnan(at(whole, 0, 9, 13)));
  ASSERT_NE(whole.provenance.geo, nullptr);
  EXPECT_EQ(whole.provenance.geo->transform[3], 4000020);
  // A window of it is the same pixels.
  const Image part = source->read(0, Window{1, 4, 6, 7});
  for (std::int64_t y = 0; y < 6; ++y) {
    for (std::int64_t x = 0; x < 7; ++x) {
      const float expected = at(whole, 0, y + 1, x + 4);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(at(part, 0, y, x)));
      } else {
        EXPECT_EQ(at(part, 0, y, x), expected);
      }
    }
  }
  const auto nothing = open_raster(options)->read(0, Window{0, 0, 2, 3});
  EXPECT_TRUE(std::isnan(at(nothing, 0, 1, 2)));
}

TEST_F(RasterWarpTest, MissingPixelsOfAMosaicLetThoseBelowThrough) {
  TestRaster below;
  below.value = [](int, int, int) { return 1; };
  write("a.tif", below);
  TestRaster above = below;
  above.value = [](int, int y, int) { return y < 4 ? -1 : 2; };
  above.finish = [](GDALDataset& d) { d.GetRasterBand(1)->SetNoDataValue(-1); };
  write("b.tif", above);
  RasterOptions options = files("*.tif");
  options.mosaic = true;
  const Image image = read(options);
  EXPECT_EQ(at(image, 0, 3, 3), 1);
  EXPECT_EQ(at(image, 0, 4, 3), 2);
}

TEST_F(RasterWarpTest, MosaicRefusesOtherGridsAndSaysWhatToDo) {
  write("a.tif", {});
  TestRaster other;
  other.transform = north_up(500000, 4000000, 20);
  write("b.tif", other);
  RasterOptions options = files("*.tif");
  options.mosaic = true;
  EXPECT_THAT(message(options),
              AllOf(HasSubstr("b.tif"), HasSubstr("a.tif (pixels"), HasSubstr("pixels of 20 x -20"),
                    HasSubstr("set crs and resolution")));
  other.transform = north_up(500004, 4000000, 10);
  write("b.tif", other);
  EXPECT_THAT(message(options), HasSubstr("does not lie on the grid"));
  other.transform = north_up(500000, 4000000, 10);
  other.epsg = 32633;
  write("b.tif", other);
  EXPECT_THAT(message(options), HasSubstr("reference system is another"));
  other.transform = std::nullopt;
  other.epsg = 0;
  write("b.tif", other);
  EXPECT_THAT(message(options), HasSubstr("without a place"));

  // With a resolution both come onto one lattice.
  other = {};
  other.transform = north_up(500080, 4000000, 20);
  other.value = [](int, int, int) { return 7; };
  write("b.tif", other);
  options.resolution = {20, 20};
  options.resampling = "average";
  const Image image = read(options);
  EXPECT_EQ(image.data_cyx.shape(), (Shape{1, 8, 4 + 8}));
  EXPECT_FLOAT_EQ(at(image, 0, 0, 1), (2 + 3 + 102 + 103) / 4.0F);
  EXPECT_EQ(at(image, 0, 5, 8), 7);
}

TEST_F(RasterWarpTest, KeepsPixelsThatLieOnTheGridAlready) {
  write("a.tif", {});
  RasterOptions options = files("a.tif");
  options.crs = "EPSG:32632";
  options.resolution = {10, 10};
  EXPECT_EQ(plane(read(options)), plane(read(files("a.tif"))));
}

TEST_F(RasterWarpTest, CoarserPixelsAreMadeOfOverviews) {
  TestRaster raster;
  raster.height = raster.width = 64;
  raster.finish = [](GDALDataset& d) { add_telling_overviews(d, {2, 4}); };
  write("a.tif", raster);
  RasterOptions options = files("a.tif");
  options.resampling = "nearest";
  const std::vector<std::pair<int, float>> cases = {{2, 2000}, {4, 4000}, {3, 2000}, {8, 4000}};
  for (const auto& [step, expected] : cases) {
    options.decimate = step;
    const Image image = read(options);
    EXPECT_EQ(image.data_cyx.dim(1), 64 / step);
    EXPECT_THAT(plane(image), testing::Each(expected)) << step;
    EXPECT_EQ(image.provenance.geo->transform[1], 10.0 * step);
  }
  options.decimate = 1;
  options.resolution = {40, 40};
  EXPECT_THAT(plane(read(options)), testing::Each(4000.0F));
  options.resolution = {15, 15};
  EXPECT_EQ(at(read(options), 0, 0, 0), 0);
}

TEST_F(RasterWarpTest, DecimatesFilesWithoutAPlace) {
  TestRaster raster;
  raster.height = 7;
  raster.width = 9;
  raster.epsg = 0;
  raster.transform = std::nullopt;
  raster.value = [](int, int y, int x) { return y == 0 && x == 0 ? -1 : 100 * y + x; };
  raster.finish = [](GDALDataset& d) { d.GetRasterBand(1)->SetNoDataValue(-1); };
  write("a.tif", raster);
  RasterOptions options = files("a.tif");
  options.decimate = 2;
  options.resampling = "average";
  const Image image = read(options);
  ASSERT_EQ(image.data_cyx.shape(), (Shape{1, 3, 4}));
  EXPECT_FLOAT_EQ(at(image, 0, 1, 2), (204 + 205 + 304 + 305) / 4.0F);
  EXPECT_FLOAT_EQ(at(image, 0, 0, 0), (1 + 100 + 101) / 3.0F);  // of the valid ones
  EXPECT_EQ(image.provenance.geo, nullptr);
  const auto source = open_raster(options);
  EXPECT_FLOAT_EQ(at(source->read(0, Window{1, 1, 2, 2}), 0, 0, 1), (204 + 205 + 304 + 305) / 4.0F);
}

TEST_F(RasterWarpTest, BringsImagesIntoAnotherSystem) {
  TestRaster raster;
  raster.height = raster.width = 100;
  raster.value = [](int, int, int x) { return x; };
  write("a.tif", raster);
  RasterOptions options = files("a.tif");
  options.crs = "EPSG:32633";
  options.resolution = {10, 10};
  const auto source = open_raster(options);
  const Image image = source->read(0);
  EXPECT_THAT(image.provenance.geo->crs_wkt, HasSubstr("UTM zone 33N"));
  // The grid of a lattice: whole multiples of the resolution.
  EXPECT_EQ(std::fmod(image.provenance.geo->transform[0], 10), 0);
  EXPECT_EQ(image.provenance.geo->transform[1], 10);
  // Turned by the convergence of meridians: corners are missing, the middle is there.
  EXPECT_TRUE(std::isnan(at(image, 0, 0, 0)));
  const std::int64_t y = image.data_cyx.dim(1) / 2, x = image.data_cyx.dim(2) / 2;
  EXPECT_NEAR(at(image, 0, y, x), 49.5, 2);
  // Windows are windows of the whole.
  const Image part = source->read(0, Window{y - 5, x - 5, 10, 10});
  EXPECT_EQ(at(part, 0, 5, 5), at(image, 0, y, x));
}

TEST_F(RasterWarpTest, BoundsAndAlignToGiveAllImagesOneGrid) {
  write("a.tif", {});
  TestRaster shifted;
  shifted.transform = north_up(500040, 4000000, 10);
  write("b.tif", shifted);
  RasterOptions options = files("{a,b}.tif");
  options.bounds = {500040, 4000000 - 60, 500080, 4000000};
  options.resampling = "nearest";
  const auto source = open_raster(options);
  ASSERT_EQ(source->size(), 2);
  EXPECT_EQ(source->extent(1), (Extent{6, 4}));
  EXPECT_EQ(at(source->read(0), 0, 2, 1), 205);
  EXPECT_EQ(at(source->read(1), 0, 2, 1), 201);

  options.bounds = {};
  options.align_to = temp_.file("b.tif");
  const auto aligned = open_raster(options);
  EXPECT_EQ(at(aligned->read(0), 0, 2, 1), 205);
  EXPECT_TRUE(std::isnan(at(aligned->read(0), 0, 2, 5)));  // beyond the first file
  EXPECT_EQ(at(aligned->read(1), 0, 2, 5), 205);
  options.crs = "EPSG:32632";
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("align_to"));
}

TEST_F(RasterWarpTest, UnrotatesWhatIsRotated) {
  TestRaster raster;
  raster.height = raster.width = 20;
  const double c = std::cos(0.3) * 10, s = std::sin(0.3) * 10;
  raster.transform = std::array<double, 6>{500000, c, s, 4000000, s, -c};
  raster.value = [](int, int y, int x) { return 100 * y + x; };
  write("a.tif", raster);
  // Untouched: pixels as stored, and the truth about their places.
  const Image stored = read(files("a.tif"));
  EXPECT_EQ(at(stored, 0, 3, 4), 304);
  EXPECT_DOUBLE_EQ(stored.provenance.geo->transform[2], s);
  RasterOptions options = files("a.tif");
  options.resolution = {10, 10};
  options.resampling = "nearest";
  const Image image = read(options);
  const auto& t = image.provenance.geo->transform;
  EXPECT_EQ(t[2], 0);
  // Where the middle of pixel [10, 10] lies.
  const double x = 500000 + 10.5 * c + 10.5 * s, y = 4000000 + 10.5 * s - 10.5 * c;
  const float value = at(image, 0, static_cast<std::int64_t>((y - t[3]) / t[5]),
                         static_cast<std::int64_t>((x - t[0]) / t[1]));
  EXPECT_NEAR(std::fmod(value, 100), 10, 1);
  EXPECT_NEAR(std::floor(value / 100), 10, 1);
}

TEST_F(RasterWarpTest, HonoursScaleMissingPixelsAndAlphaOnAnotherGrid) {
  TestRaster raster;
  raster.bands = raster.alpha = 3;
  raster.type = GDT_UInt16;
  raster.value = [](int c, int y, int x) {
    if (c == 2) return x < 4 ? 65535 : 0;  // the right half is transparent
    return c == 0 && y < 4 ? 9 : 20;       // the upper half of the first band is missing
  };
  raster.finish = [](GDALDataset& d) {
    d.GetRasterBand(1)->SetNoDataValue(9);
    d.GetRasterBand(1)->SetScale(0.5);
    d.GetRasterBand(1)->SetOffset(100);
  };
  write("a.tif", raster);
  RasterOptions options = files("a.tif");
  options.resolution = {20, 20};
  options.resampling = "average";
  const Image image = read(options);
  ASSERT_EQ(image.data_cyx.shape(), (Shape{2, 4, 4}));
  for (std::int64_t y = 0; y < 4; ++y) {
    for (std::int64_t x = 0; x < 4; ++x) {
      EXPECT_EQ(std::isnan(at(image, 0, y, x)), y < 2 || x >= 2) << y << " " << x;
      EXPECT_EQ(std::isnan(at(image, 1, y, x)), x >= 2) << y << " " << x;
    }
  }
  EXPECT_EQ(at(image, 0, 3, 1), 110);
  EXPECT_EQ(at(image, 1, 0, 0), 20);
}

TEST_F(RasterWarpTest, RefusesWishesThatCannotBe) {
  write("a.tif", {});
  TestRaster placeless;
  placeless.epsg = 0;
  placeless.transform = std::nullopt;
  write("b.tif", placeless);
  RasterOptions options = files("b.tif");
  options.crs = "EPSG:4326";
  EXPECT_THAT(message(options), AllOf(HasSubstr("b.tif"), HasSubstr("neither a geotransform")));
  options = files("a.tif");
  options.crs = "EPSG:99999";
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("EPSG:99999"));
  options.crs = "/etc/passwd";
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("no coordinate reference system"));
  options.crs = "";
  options.resolution = {1e-9, 1e-9};
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("check resolution"));
  options.decimate = 2;
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("decimate"));
  options.resolution = {};
  options.decimate = 9;
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("leaves nothing"));
}

}  // namespace
}  // namespace trib::io
