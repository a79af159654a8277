// Which pixels count as missing, which bands as data, and damaged virtual files.
#include <fstream>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/io/raster_fixture.h"

namespace trib::io {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class RasterMasksTest : public RasterTest {
 protected:
  std::vector<bool> missing(const RasterOptions& options, std::int64_t channel = 0) const {
    std::vector<bool> found;
    for (const float value : plane(read(options), channel)) found.push_back(std::isnan(value));
    return found;
  }
  /// A raster of one row.
  static TestRaster row(GDALDataType type, std::vector<double> values) {
    TestRaster raster;
    raster.height = 1;
    raster.width = static_cast<int>(values.size());
    raster.type = type;
    raster.value = [values](int, int, int x) { return values[static_cast<std::size_t>(x)]; };
    return raster;
  }
};

TEST_F(RasterMasksTest, KnowsNodataOfEachTypeAndBand) {
  struct Case {
    GDALDataType type;
    double nodata;
    std::vector<double> values;
    std::vector<bool> expected;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Case& c : {Case{GDT_Byte, 255, {0, 254, 255}, {false, false, true}},
                        Case{GDT_Byte, -9999, {0, 1, 255}, {false, false, false}},
                        Case{GDT_Int16, -32768, {-32768, 0, 5}, {true, false, false}},
                        Case{GDT_UInt16, 70000, {0, 65535, 3}, {false, false, false}},
                        Case{GDT_Float32, nan, {1, nan, 3}, {false, true, false}},
                        Case{GDT_Float32,
                             -3.4028234663852886e38,
                             {-3.4028234663852886e38, 0, nan},
                             {true, false, true}},
                        Case{GDT_Float64, 1e300, {1e300, 2, 3}, {true, false, false}}}) {
    TestRaster raster = row(c.type, c.values);
    raster.finish = [&](GDALDataset& d) { d.GetRasterBand(1)->SetNoDataValue(c.nodata); };
    write("a.tif", raster);
    EXPECT_EQ(missing(files("a.tif")), c.expected) << GDALGetDataTypeName(c.type) << c.nodata;
  }
}

TEST_F(RasterMasksTest, KnowsNodataOf64BitIntegers) {
  TestRaster raster = row(GDT_Int64, {1, 2, 3});
  raster.finish = [](GDALDataset& d) {
    d.GetRasterBand(1)->SetNoDataValueAsInt64(std::numeric_limits<std::int64_t>::min());
    const std::int64_t values[] = {std::numeric_limits<std::int64_t>::min(), -7, 1LL << 40};
    EXPECT_EQ(d.GetRasterBand(1)->RasterIO(GF_Write, 0, 0, 3, 1, const_cast<std::int64_t*>(values),
                                           3, 1, GDT_Int64, 0, 0, nullptr),
              CE_None);
  };
  write("a.tif", raster);
  EXPECT_EQ(missing(files("a.tif")), (std::vector<bool>{true, false, false}));
  EXPECT_EQ(plane(read(files("a.tif")))[2], 0x1p40F);
}

#if GDAL_VERSION_NUM < 3070000
TEST_F(RasterMasksTest, ReadsSignedBytesByEitherWay) {
  for (const char* how : {"COMPRESS=NONE", "COMPRESS=DEFLATE", "COMPRESS=PACKBITS"}) {
    TestRaster raster = row(GDT_Byte, {0, 127, 128, 251, 255});
    raster.options = {"PIXELTYPE=SIGNEDBYTE", how};
    raster.finish = [](GDALDataset& d) { d.GetRasterBand(1)->SetNoDataValue(-5); };
    write("a.tif", raster);
    const std::vector<float> found = plane(read(files("a.tif")));
    EXPECT_EQ((std::vector<float>{found[0], found[1], found[2], found[4]}),
              (std::vector<float>{0, 127, -128, -1}))
        << how;
    EXPECT_TRUE(std::isnan(found[3])) << how;
  }
  RasterOptions warped = files("a.tif");
  warped.resolution = {5, 5};
  EXPECT_THAT(message(warped), HasSubstr("signed bytes"));
}
#endif

TEST_F(RasterMasksTest, MissingStaysMissingThroughScaleAndAffine) {
  TestRaster raster = row(GDT_Int16, {-1, 10, 20});
  raster.finish = [](GDALDataset& d) {
    d.GetRasterBand(1)->SetNoDataValue(-1);
    d.GetRasterBand(1)->SetScale(0.1);
    d.GetRasterBand(1)->SetOffset(5);
    d.GetRasterBand(1)->SetUnitType("K");
  };
  write("a.tif", raster);
  const auto source = open_raster(files("a.tif"));
  EXPECT_EQ(source->channels()[0].units, "K");
  std::vector<float> values(3);
  const std::vector<Affine> affine = {{2, -1}};
  source->read_into(0, {}, {values.data(), affine});
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_FLOAT_EQ(values[1], (10 * 0.1F + 5) * 2 - 1);
}

TEST_F(RasterMasksTest, KnowsMasksInsideAndBesideTheFile) {
  for (const char* internal : {"YES", "NO"}) {
    TestRaster raster = row(GDT_Byte, {1, 2, 3});
    raster.bands = 2;
    raster.finish = [&](GDALDataset& d) {
      CPLSetConfigOption("GDAL_TIFF_INTERNAL_MASK", internal);
      EXPECT_EQ(d.CreateMaskBand(GMF_PER_DATASET), CE_None);
      const std::uint8_t mask[] = {255, 0, 255};
      EXPECT_EQ(
          d.GetRasterBand(1)->GetMaskBand()->RasterIO(
              GF_Write, 0, 0, 3, 1, const_cast<std::uint8_t*>(mask), 3, 1, GDT_Byte, 0, 0, nullptr),
          CE_None);
      CPLSetConfigOption("GDAL_TIFF_INTERNAL_MASK", nullptr);
    };
    write(fmt::format("{}.tif", internal), raster);
    const RasterOptions options = files(fmt::format("{}.tif", internal));
    for (const std::int64_t band : {0, 1}) {
      EXPECT_EQ(missing(options, band), (std::vector<bool>{false, true, false})) << internal;
    }
  }
}

TEST_F(RasterMasksTest, KnowsMasksOfSingleBands) {
  // Only an external mask can have more than one band.
  TestRaster raster = row(GDT_Byte, {1, 2, 3});
  raster.bands = 2;
  write("a.tif", raster);
  TestRaster masks = row(GDT_Byte, {255, 255, 255});
  masks.bands = 2;
  masks.value = [](int c, int, int x) { return x == c ? 0 : 255; };
  masks.finish = [](GDALDataset& d) {
    d.SetMetadataItem("INTERNAL_MASK_FLAGS_1", "0");
    d.SetMetadataItem("INTERNAL_MASK_FLAGS_2", "0");
  };
  write("a.tif.msk", masks);
  EXPECT_EQ(missing(files("a.tif"), 0), (std::vector<bool>{true, false, false}));
  EXPECT_EQ(missing(files("a.tif"), 1), (std::vector<bool>{false, true, false}));
  RasterOptions options = files("a.tif");
  options.resolution = {20, 20};
  EXPECT_THAT(message(options), HasSubstr("a mask for each band"));
}

TEST_F(RasterMasksTest, AlphaHidesPixelsAndIsNoChannel) {
  for (const GDALDataType type : {GDT_Byte, GDT_UInt16}) {
    TestRaster raster = row(type, {7, 8, 9});
    raster.bands = raster.alpha = 3;
    raster.value = [](int c, int, int x) { return c == 2 ? x : 10 * c + x; };  // 0, 1, 2
    write("a.tif", raster);
    const auto source = open_raster(files("a.tif"));
    ASSERT_EQ(source->channels().size(), 2u);
    EXPECT_EQ(missing(files("a.tif"), 0), (std::vector<bool>{true, false, false}));
    EXPECT_EQ(missing(files("a.tif"), 1), (std::vector<bool>{true, false, false}));
    RasterOptions options = files("a.tif");
    options.channels = {"2", "alpha"};
    const Image image = read(options);
    EXPECT_EQ(plane(image, 1), (std::vector<float>{0, 1, 2}));
    EXPECT_EQ(at(image, 0, 0, 1), 11);
    // Nodata and alpha both count.
    raster.finish = [](GDALDataset& d) { d.GetRasterBand(1)->SetNoDataValue(2); };
    write("a.tif", raster);
    EXPECT_EQ(missing(files("a.tif"), 0), (std::vector<bool>{true, false, true}));
  }
}

TEST_F(RasterMasksTest, ABandDescribedAsSomethingElseIsNoAlpha) {
  TestRaster raster = row(GDT_Byte, {0, 1, 2});
  raster.bands = raster.alpha = 4;
  raster.finish = [](GDALDataset& d) { d.GetRasterBand(4)->SetDescription("nir"); };
  write("a.tif", raster);
  const auto source = open_raster(files("a.tif"));
  ASSERT_EQ(source->channels().size(), 4u);
  EXPECT_EQ(source->channels()[3].name, "nir");
  EXPECT_EQ(missing(files("a.tif"), 0), (std::vector<bool>{false, false, false}));
}

TEST_F(RasterMasksTest, ChoosesBandsByTheNearestWavelength) {
  TestRaster raster = row(GDT_Byte, {1});
  raster.bands = 3;
  raster.value = [](int c, int, int) { return c; };
  raster.finish = [](GDALDataset& d) {
    for (int c = 1; c <= 3; ++c) {
      d.GetRasterBand(c)->SetMetadataItem("wavelength", fmt::format("{}", 400 + 100 * c).c_str());
      d.GetRasterBand(c)->SetMetadataItem("wavelength_units", "nm");
    }
  };
  write("a.tif", raster);
  RasterOptions options = files("a.tif");
  options.channels = {"690nm", "505 nm"};
  const Image image = read(options);
  EXPECT_EQ(at(image, 0, 0, 0), 2);
  EXPECT_EQ(at(image, 1, 0, 0), 0);
  options.channels = {"900nm"};
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("500nm..700nm"));
}

TEST_F(RasterMasksTest, GivesTheMajorityOfARasterOfClasses) {
  TestRaster raster;
  write("scene.tif", raster);
  TestRaster classes;
  classes.type = GDT_Byte;
  classes.value = [](int, int y, int x) { return y >= 6 ? 255 : x < 5 ? 3 : 1; };
  classes.finish = [](GDALDataset& d) { d.GetRasterBand(1)->SetNoDataValue(255); };
  write("scene_classes.tif", classes);
  RasterOptions options = files("scene.tif");
  options.label_from = temp_.file("*_classes.tif");
  const auto source = open_raster(options);
  EXPECT_EQ(source->read(0).provenance.label, 3);
  EXPECT_EQ(source->label(0, Window{0, 4, 4, 4}), 1);
  EXPECT_EQ(source->read(0, Window{0, 4, 4, 4}).provenance.label, 1);
  EXPECT_EQ(source->label(0, Window{6, 0, 2, 8}), -1);
  options.label_from = temp_.file("*_absent.tif");
  EXPECT_THAT(message(options), HasSubstr("scene_absent.tif"));
}

TEST_F(RasterMasksTest, ReadsVirtualFilesAndSurvivesBrokenOnes) {
  write("a.tif", {});
  const auto virtual_of = [&](const std::string& source, const std::string& size = "8") {
    std::ofstream(temp_.file("v.vrt")) << fmt::format(
        "<VRTDataset rasterXSize=\"{1}\" rasterYSize=\"{1}\">"
        "<VRTRasterBand dataType=\"Float32\" band=\"1\"><SimpleSource>"
        "<SourceFilename relativeToVRT=\"0\">{0}</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand></VRTDataset>",
        source, size);
    return files("v.vrt");
  };
  EXPECT_EQ(at(read(virtual_of(temp_.file("a.tif"))), 0, 3, 4), 304);
  for (const std::string& source :
       {temp_.file("absent.tif"), temp_.file("v.vrt"), std::string("/dev/null"),
        std::string("/etc/passwd"), std::string("/"), std::string("")}) {
    EXPECT_THAT(message(virtual_of(source)), HasSubstr("v.vrt")) << source;
  }
  // A header of the same name belongs to another file.
  std::ofstream(temp_.file("v.hdr")) << "ENVI\nsamples = 3\nlines = 3\nbands = 1\ndata type = 1\n"
                                        "interleave = bsq\n";
  EXPECT_EQ(at(read(virtual_of(temp_.file("a.tif"))), 0, 3, 4), 304);
  // Sizes that are only declared are not allocated.
  const auto huge = open_raster(virtual_of(temp_.file("a.tif"), "2000000000"));
  EXPECT_EQ(huge->extent(0).height, 2000000000);
  EXPECT_EQ(at(huge->read(0, Window{3, 4, 1, 1}), 0, 0, 0), 304);
  EXPECT_THROW(huge->read(0), DataError);
  RasterOptions tiled = virtual_of(temp_.file("a.tif"), "2000000000");
  tiled.tile = Extent{8, 8};
  EXPECT_THAT(message(tiled), HasSubstr("tiles"));
}

}  // namespace
}  // namespace trib::io
