// How HDF5 files say what their cubes are, on files written here.
#include <cmath>
#include <filesystem>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/cube/cube_source.h"
#include "ops/base/error.h"
#include "tests/io/hdf5_writer.h"
#include "tests/io/netcdf_writer.h"

namespace trib::io {
namespace {

using test::Hdf5Writer;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

float at(const Image& image, std::int64_t c, std::int64_t y, std::int64_t x) {
  const Tensor& t = image.data_cyx;
  return t.data<float>()[(c * t.dim(1) + y) * t.dim(2) + x];
}

std::vector<std::string> names(const ImageSource& source) {
  std::vector<std::string> out;
  for (const Channel& c : source.channels()) out.push_back(c.name);
  return out;
}

template <class Expected>
std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Expected& e) {
    return e.what();
  }
  return "not the expected error";
}

class CubeLayout : public testing::Test {
 protected:
  CubeLayout() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = testing::TempDir() + "layout_" + info->name() + ".h5";
    options_.files = {path_};
  }
  ~CubeLayout() override { std::filesystem::remove(path_); }

  std::string path_;
  CubeOptions options_;
};

TEST_F(CubeLayout, EveryOrderOfAxes) {
  // The value is 100 c + 10 y + x, whatever the order.
  const std::vector<std::int64_t> extents_cyx{4, 3, 5};
  for (const std::string axes : {"yxc", "ycx", "cyx", "xyc", "xcy", "cxy"}) {
    std::vector<hsize_t> shape;
    for (const char a : axes) shape.push_back(a == 'c' ? 4 : a == 'y' ? 3 : 5);
    std::vector<double> values;
    for (hsize_t i = 0; i < shape[0]; ++i) {
      for (hsize_t j = 0; j < shape[1]; ++j) {
        for (hsize_t k = 0; k < shape[2]; ++k) {
          const auto index = [&](char a) {
            const auto position = axes.find(a);
            return static_cast<double>(position == 0 ? i : position == 1 ? j : k);
          };
          values.push_back(100 * index('c') + 10 * index('y') + index('x'));
        }
      }
    }
    {
      Hdf5Writer file(path_);
      file.dataset("/cube", H5T_STD_I16LE, shape, values, {2, 2, 2});
    }
    options_.axes = axes;
    options_.channels = {"4", "2..3"};
    const auto source = open_cube(options_);
    ASSERT_EQ(source->extent(0), (Extent{3, 5})) << axes;
    const Image image = source->read(0, Window{1, 1, 2, 4});
    for (std::int64_t c = 0; c < 3; ++c) {
      const std::int64_t band = c == 0 ? 3 : c;
      for (std::int64_t y = 0; y < 2; ++y) {
        for (std::int64_t x = 0; x < 4; ++x) {
          ASSERT_EQ(at(image, c, y, x), static_cast<float>(100 * band + 10 * (y + 1) + x + 1))
              << axes << " " << c << " " << y << " " << x;
        }
      }
    }
  }
}

TEST_F(CubeLayout, AFourthAxisOfLengthOne) {
  {
    Hdf5Writer file(path_);
    file.counted("/cube", H5T_STD_U16LE, {1, 2, 3, 4}, {1, 2, 2, 2});
    file.dataset("/wavelength", H5T_IEEE_F32LE, {4}, {450, 550, 650, 850});
    file.counted("/five", H5T_STD_U16LE, {1, 1, 2, 3, 4});
    file.counted("/four", H5T_STD_U16LE, {2, 2, 3, 4});
  }
  options_.dataset = "cube";
  options_.channels = {"850nm", "450nm..550nm"};
  const auto source = open_cube(options_);
  EXPECT_EQ(source->extent(0), (Extent{2, 3}));
  const Image image = source->read(0, Window{1, 1, 1, 2});
  EXPECT_EQ(at(image, 0, 0, 1), 3 * 4 + 2 * 4 + 3);
  EXPECT_EQ(at(image, 2, 0, 0), 3 * 4 + 1 * 4 + 1);
  for (const char* other : {"five", "four"}) {
    options_.dataset = other;
    EXPECT_THAT(error_of<DataError>([&] { open_cube(options_); }), HasSubstr("expected 3"));
  }
}

TEST_F(CubeLayout, AxesByTheirDimensionScales) {
  {
    test::NetcdfWriter file(path_);
    const int x = file.dimension("x", 3);
    const int bands = file.dimension("wavelength", 3);
    const int y = file.dimension("y", 3);
    const int cube = file.define("reflectance", NC_FLOAT, {x, bands, y});
    const int centres = file.define("centres", NC_FLOAT, {bands});
    file.attribute(centres, "units", "um");
    std::vector<double> values(27);
    std::iota(values.begin(), values.end(), 0.0);
    file.write(cube, values);
    file.write(centres, {0.45, 0.55, 0.65});
  }
  const auto numbered = open_cube(options_);
  EXPECT_THAT(names(*numbered), ElementsAre("B01", "B02", "B03"));
  EXPECT_EQ(at(numbered->read(0), 1, 2, 0), 1 * 3 + 2);
  EXPECT_EQ(at(numbered->read(0), 0, 1, 2), 2 * 9 + 1);
  options_.wavelengths = "centres";
  EXPECT_THAT(names(*open_cube(options_)), ElementsAre("450.0nm", "550.0nm", "650.0nm"));
}

TEST_F(CubeLayout, ScalesAndOffsetsOfEachBand) {
  {
    Hdf5Writer file(path_);
    file.dataset("/cube", H5T_STD_I16LE, {1, 2, 3}, {1, 2, 3, -1, 5, 6});
    file.text_attribute("/cube", "dimension_labels", "y,x,band");
    file.attribute("/cube", "scale_factor", {0.5, 10, 0.25});
    file.attribute("/cube", "add_offset", {0, 1, -1});
    file.attribute("/cube", "_FillValue", {-1});
  }
  options_.bad_bands = {"keep"};
  options_.channels = {"3", "1..2"};
  const Image image = open_cube(options_)->read(0);
  EXPECT_FLOAT_EQ(at(image, 0, 0, 0), 3 * 0.25F - 1);
  EXPECT_FLOAT_EQ(at(image, 0, 0, 1), 6 * 0.25F - 1);
  EXPECT_FLOAT_EQ(at(image, 1, 0, 0), 0.5F);
  EXPECT_TRUE(std::isnan(at(image, 1, 0, 1)));
  EXPECT_FLOAT_EQ(at(image, 2, 0, 0), 2 / 10.0F + 1);  // a factor beyond 1 divides
  EXPECT_FLOAT_EQ(at(image, 2, 0, 1), 5 / 10.0F + 1);
  const std::vector<Affine> affine{{2, 1}, {1, 0}, {-1, 3}};
  std::vector<float> out(6);
  open_cube(options_)->read_into(0, {}, {out.data(), affine});
  EXPECT_FLOAT_EQ(out[0], 2 * at(image, 0, 0, 0) + 1);
  EXPECT_TRUE(std::isnan(out[3]));
  EXPECT_FLOAT_EQ(out[5], 3 - at(image, 2, 0, 1));
}

// Cubes of 6 bands at 500, 510, ... nm.
class BadBandsOfAFile : public CubeLayout {
 protected:
  void write(const std::function<void(Hdf5Writer&)>& add) {
    Hdf5Writer file(path_);
    file.counted("/site/cube", H5T_STD_I16LE, {2, 2, 6});
    file.dataset("/site/wavelength", H5T_IEEE_F32LE, {6}, {500, 510, 520, 530, 540, 550});
    add(file);
  }
  std::vector<std::string> dropped_names() { return names(*open_cube(options_)); }
};

TEST_F(BadBandsOfAFile, ListsOfFlags) {
  const std::vector<double> good{1, 0, 1, 1, 0, 1};
  const std::vector<std::string> remain{"500.0nm", "520.0nm", "530.0nm", "550.0nm"};
  write([&](Hdf5Writer& f) { f.attribute("/site/cube", "bbl", good); });
  EXPECT_EQ(dropped_names(), remain);
  write([&](Hdf5Writer& f) { f.dataset("/site/meta/good_wavelengths", H5T_STD_U8LE, {6}, good); });
  EXPECT_EQ(dropped_names(), remain);
  write([&](Hdf5Writer& f) { f.attribute("/", "good_bands", good); });
  EXPECT_EQ(dropped_names(), remain);
  write([&](Hdf5Writer& f) { f.dataset("/bad_bands", H5T_STD_I32LE, {6}, {0, 1, 0, 0, 1, 0}); });
  EXPECT_EQ(dropped_names(), remain);
  options_.bad_bands = {"keep"};
  EXPECT_EQ(dropped_names().size(), 6U);
}

TEST_F(BadBandsOfAFile, RangesOfWavelengths) {
  write([&](Hdf5Writer& f) {
    f.attribute("/site", "Band_Window_1_Nanometers", {505, 520});
    f.attribute("/site", "Band_Window_2_Nanometers", {550, 600});
  });
  EXPECT_THAT(dropped_names(), ElementsAre("500.0nm", "530.0nm", "540.0nm"));
  write([&](Hdf5Writer& f) { f.attribute("/site/cube", "bad_bands", {495, 511, 539, 541}); });
  EXPECT_THAT(dropped_names(), ElementsAre("520.0nm", "530.0nm", "550.0nm"));
  write([&](Hdf5Writer& f) { f.attribute("/site/cube", "bad_bands", {3, 5, 6}); });
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options_); }),
              AllOf(HasSubstr("/site/cube/bad_bands has 3 numbers"), HasSubstr("bad_bands")));
}

TEST_F(BadBandsOfAFile, GivenOnes) {
  write([&](Hdf5Writer& f) { f.attribute("/site/cube", "bbl", {1, 1, 1, 1, 1, 0}); });
  options_.bad_bands = {"505nm..515nm", "1", "900nm..1000nm"};
  EXPECT_THAT(dropped_names(), ElementsAre("520.0nm", "530.0nm", "540.0nm", "550.0nm"));
  options_.bad_bands = {"drop", "500nm", "3..4"};
  EXPECT_THAT(dropped_names(), ElementsAre("510.0nm", "540.0nm"));
  // Numbers stay those of the file; values too.
  options_.channels = {"4..6", "2"};
  EXPECT_THAT(dropped_names(), ElementsAre("540.0nm", "510.0nm"));
  EXPECT_EQ(at(open_cube(options_)->read(0), 0, 1, 1), 22);
  options_.channels = {"552nm"};  // the nearest that is not bad
  EXPECT_THAT(dropped_names(), ElementsAre("540.0nm"));
  options_.channels = {"6"};
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }),
              HasSubstr("channel '6' is bad (550.0nm); bad_bands: keep would read it"));
  options_.channels = {"3..4"};
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }),
              HasSubstr("all channels in '3..4' are bad"));
  options_.bad_bands = {"keep", "1"};
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }), HasSubstr("keep stands alone"));
  options_.bad_bands = {"7"};
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }), HasSubstr("no channel 7"));
}

TEST_F(CubeLayout, DeadBandsAreFound) {
  // Band 2 is missing throughout, band 1 in the middle only; the left is outside of the swath.
  const std::int64_t n = 40;
  std::vector<double> values;
  for (std::int64_t y = 0; y < n; ++y) {
    for (std::int64_t x = 0; x < n; ++x) {
      const bool middle = y > 10 && y < 28 && x > 10 && x < 28;
      values.insert(values.end(), {x < 5 ? -9. : 1., x < 5 || middle ? -9. : 2., -9.});
    }
  }
  const auto write = [&] {
    Hdf5Writer file(path_);
    file.dataset("/cube", H5T_STD_I16LE, {40, 40, 3}, values, {8, 8, 3});
    file.text_attribute("/cube", "dimension_labels", "y,x,band");
    file.attribute("/cube", "_FillValue", {-9});
  };
  write();
  EXPECT_THAT(names(*open_cube(options_)), ElementsAre("B01", "B02"));
  options_.bad_bands = {"keep"};
  EXPECT_EQ(open_cube(options_)->channels().size(), 3U);
  // Nothing is known of a cube without any value.
  std::ranges::fill(values, -9);
  write();
  options_.bad_bands = {"drop"};
  EXPECT_EQ(open_cube(options_)->channels().size(), 3U);
}

TEST_F(CubeLayout, WavelengthsAreThoseThatWereWritten) {
  {
    Hdf5Writer file(path_);
    file.counted("/cube", H5T_STD_I16LE, {2, 2, 3});
    file.dataset("/wavelength", H5T_IEEE_F32LE, {3}, {1.03705, 1.96795, 2.0});
    file.text_attribute("/wavelength", "units", "um");
    file.text_attribute("/cube", "dimension_labels", "y,x,band");
  }
  const auto source = open_cube(options_);  // none of the first two is a 32-bit number
  EXPECT_DOUBLE_EQ(source->channels()[0].wavelength_nm, 1037.05);
  EXPECT_DOUBLE_EQ(source->channels()[1].wavelength_nm, 1967.95);
}

TEST_F(CubeLayout, NeonGroups) {
  {
    Hdf5Writer file(path_);
    const std::string site = "/SJER/Reflectance";
    file.counted(site + "/Reflectance_Data", H5T_STD_I16LE, {2, 2, 4}, {2, 2, 2});
    file.attribute(site + "/Reflectance_Data", "Scale_Factor", {10000});
    file.attribute(site + "/Reflectance_Data", "Data_Ignore_Value", {-9999});
    const std::string spectral = site + "/Metadata/Spectral_Data";
    file.dataset(spectral + "/Wavelength", H5T_IEEE_F64LE, {4}, {383.5, 388.5, 393.5, 1400});
    file.dataset(spectral + "/FWHM", H5T_IEEE_F64LE, {4}, {5.5, 5.75, 6, 6.25});
    file.attribute(site, "Band_Window_1_Nanometers", {1340, 1445});
    file.counted(site + "/Metadata/Logs/Solar_Azimuth", H5T_IEEE_F32LE, {4});
  }
  const auto source = open_cube(options_);
  EXPECT_THAT(names(*source), ElementsAre("383.5nm", "388.5nm", "393.5nm"));
  EXPECT_EQ(source->channels()[1].fwhm_nm, 5.75);
  EXPECT_FLOAT_EQ(at(source->read(0), 2, 1, 0), 10 / 10000.0F);
}

TEST_F(CubeLayout, CubesOfTwoDetectors) {
  const std::string fields = "/HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/";
  {
    Hdf5Writer file(path_);
    file.counted(fields + "VNIR_Cube", H5T_STD_U16LE, {4, 3, 5});
    file.counted(fields + "SWIR_Cube", H5T_STD_U16LE, {4, 6, 5});
    file.counted(fields + "VNIR_PIXEL_L2_ERR_MATRIX", H5T_STD_U8LE, {4, 3, 5});
    file.attribute("/", "List_Cw_Vnir", {0, 500, 450});
    file.attribute("/", "List_Fwhm_Vnir", {0, 10, 11});
    file.attribute("/", "List_Cw_Swir", {1000, 1010, 1020, 1030, 1040, 1050});
    file.attribute("/", "List_Cw_Swir_Flags", {1, 1, 1, 1, 0, 1});
    file.attribute("/", "L2ScaleVnirMin", {-0.5});
    file.attribute("/", "L2ScaleVnirMax", {1.5});
  }
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }),
              AllOf(HasSubstr("choose one with dataset"), HasSubstr("VNIR_Cube u16 [4, 3, 5]"),
                    HasSubstr("SWIR_Cube u16 [4, 6, 5]")));
  options_.dataset = "VNIR_Cube";
  const auto vnir = open_cube(options_);
  EXPECT_THAT(names(*vnir), ElementsAre("500.0nm", "450.0nm"));
  EXPECT_EQ(vnir->channels()[1].fwhm_nm, 11);
  EXPECT_EQ(vnir->extent(0), (Extent{4, 5}));
  EXPECT_NEAR(at(vnir->read(0), 1, 3, 2), 57 * 2.0 / 65535 - 0.5, 1e-6);
  options_.dataset = "SWIR_Cube";
  EXPECT_THAT(names(*open_cube(options_)),
              ElementsAre("1000.0nm", "1010.0nm", "1020.0nm", "1030.0nm", "1050.0nm"));
}

TEST_F(CubeLayout, FilesAreComparedBandByBand) {
  const std::string other = path_ + "2.h5";
  const auto write = [](const std::string& path, const std::vector<double>& wavelengths) {
    Hdf5Writer file(path);
    file.counted("/cube", H5T_STD_I16LE, {2, 2, wavelengths.size()});
    file.text_attribute("/cube", "dimension_labels", "y,x,band");
    file.attribute("/cube", "wavelength", wavelengths);
  };
  write(path_, {500, 510, 520});
  write(other, {490, 500.04, 509.98, 520, 530});  // more bands, and those wanted a little shifted
  options_.files = {path_, other};
  {
    const auto source = open_cube(options_);
    EXPECT_THAT(names(*source), ElementsAre("500.0nm", "510.0nm", "520.0nm"));
    EXPECT_EQ(at(source->read(1), 0, 0, 1), 5 + 1);
  }
  write(other, {500, 511, 520});
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options_); }),
              AllOf(HasSubstr(other + " has no band 510.0nm among its 3"), HasSubstr(path_)));
  std::filesystem::remove(other);
}

}  // namespace
}  // namespace trib::io
