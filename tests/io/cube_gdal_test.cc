// Cubes that are not HDF5: ENVI files written here, and real pairs that hold the same values.
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/cube/cube_source.h"
#include "ops/base/error.h"
#include "tests/io/hdf5_writer.h"
#include "tests/io/netcdf_writer.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kBands = 4, kRows = 3, kColumns = 5;

float at(const Image& image, std::int64_t c, std::int64_t y, std::int64_t x) {
  const Tensor& t = image.data_cyx;
  return t.data<float>()[(c * t.dim(1) + y) * t.dim(2) + x];
}

bool same(float a, float b) {
  return a == b || (std::isnan(a) && std::isnan(b));
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

std::int64_t number(std::int64_t c, std::int64_t y, std::int64_t x) {
  return c * 30 + y * 10 + x;
}

template <class T>
void append(std::string& out, T value, bool big_endian) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  if (big_endian != (std::endian::native == std::endian::big)) {
    std::reverse(bytes.begin(), bytes.end());
  }
  out += bytes;
}

// The cube of number() as the bytes of an ENVI data file.
template <class T>
std::string envi_bytes(const std::string& interleave, bool big_endian) {
  std::string out;
  const auto put = [&](std::int64_t c, std::int64_t y, std::int64_t x) {
    append(out, static_cast<T>(number(c, y, x)), big_endian);
  };
  const std::int64_t n0 = interleave == "bsq" ? kBands : kRows;
  const std::int64_t n1 = interleave == "bil" ? kBands : interleave == "bsq" ? kRows : kColumns;
  const std::int64_t n2 = interleave == "bip" ? kBands : kColumns;
  for (std::int64_t i = 0; i < n0; ++i) {
    for (std::int64_t j = 0; j < n1; ++j) {
      for (std::int64_t k = 0; k < n2; ++k) {
        if (interleave == "bsq") put(i, j, k);
        if (interleave == "bil") put(j, i, k);
        if (interleave == "bip") put(k, i, j);
      }
    }
  }
  return out;
}

class EnviCube : public testing::Test {
 protected:
  EnviCube() {
    folder_ = testing::TempDir() + "envi_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
    options_.files = {folder_ + "/cube.hdr"};
  }
  ~EnviCube() override { std::filesystem::remove_all(folder_); }

  void write(int type, const std::string& interleave, bool big_endian, const std::string& bytes,
             const std::string& more = "") const {
    std::ofstream(folder_ + "/cube.hdr")
        << "ENVI\nsamples = 5\nlines = 3\nbands = 4\nheader offset = 0\nfile type = ENVI Standard\n"
        << "data type = " << type << "\ninterleave = " << interleave
        << "\nbyte order = " << (big_endian ? 1 : 0) << "\n"
        << more;
    std::ofstream(folder_ + "/cube.dat", std::ios::binary) << bytes;
  }

  std::string folder_;
  CubeOptions options_;
};

TEST_F(EnviCube, EveryTypeInterleaveAndByteOrder) {
  const auto expect_read = [&](int type, const auto& bytes_of) {
    for (const std::string interleave : {"bsq", "bil", "bip"}) {
      for (const bool big_endian : {false, true}) {
        write(type, interleave, big_endian, bytes_of(interleave, big_endian),
              "wavelength units = Nanometers\nwavelength = {450, 550, 650, 850}\n");
        CubeOptions options = options_;
        options.channels = {"850nm", "500nm..700nm"};
        const auto source = open_cube(options);
        ASSERT_THAT(names(*source), ElementsAre("850.0nm", "550.0nm", "650.0nm"));
        const Image image = source->read(0, Window{1, 2, 2, 3});
        for (std::int64_t c = 0; c < 3; ++c) {
          for (std::int64_t y = 0; y < 2; ++y) {
            for (std::int64_t x = 0; x < 3; ++x) {
              ASSERT_EQ(at(image, c, y, x),
                        static_cast<float>(number(c == 0 ? 3 : c, y + 1, x + 2)))
                  << "type " << type << " " << interleave << " " << big_endian;
            }
          }
        }
      }
    }
  };
  expect_read(1, envi_bytes<std::uint8_t>);
  expect_read(2, envi_bytes<std::int16_t>);
  expect_read(3, envi_bytes<std::int32_t>);
  expect_read(4, envi_bytes<float>);
  expect_read(5, envi_bytes<double>);
  expect_read(12, envi_bytes<std::uint16_t>);
  expect_read(13, envi_bytes<std::uint32_t>);
  write(6, "bsq", false, std::string(480, '\0'));
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options_); }), HasSubstr("complex"));
}

TEST_F(EnviCube, WhatTheHeaderSays) {
  write(2, "bil", false, envi_bytes<std::int16_t>("bil", false),
        "reflectance scale factor = 100\ndata ignore value = 44\nwavelength units = Micrometers\n"
        "wavelength = {0.45, 0.55,\n 0.65, 0.85}\nfwhm = {0.01, 0.02, 0.03, 0.04}\n"
        "bbl = {1, 0, 1, 1}\n"
        "map info = {UTM, 1, 1, 300000, 5000000, 30, 30, 33, North, WGS-84}\n");
  const auto source = open_cube(options_);
  EXPECT_THAT(names(*source), ElementsAre("450.0nm", "650.0nm", "850.0nm"));
  EXPECT_DOUBLE_EQ(source->channels()[2].fwhm_nm, 40);
  const Image image = source->read(0);
  EXPECT_FLOAT_EQ(at(image, 1, 2, 3), static_cast<float>(number(2, 2, 3)) / 100);
  EXPECT_EQ(image.provenance.geo->transform[0], 300000);
  EXPECT_EQ(image.provenance.geo->transform[5], -30);
  options_.bad_bands = {"keep"};
  const auto kept = open_cube(options_);
  ASSERT_EQ(kept->channels().size(), 4U);
  EXPECT_TRUE(std::isnan(at(kept->read(0), 1, 1, 4)));  // 44
  options_.scale = 3;
  options_.nodata = 1;
  const auto mine = open_cube(options_);
  EXPECT_FLOAT_EQ(at(mine->read(0), 1, 1, 4), 3 * 44);
  EXPECT_TRUE(std::isnan(at(mine->read(0), 0, 0, 1)));
  const std::vector<Affine> affine(4, {2, 7});
  std::vector<float> out(kBands * kRows * kColumns);
  mine->read_into(0, {}, {out.data(), affine});
  EXPECT_FLOAT_EQ(out.back(), 2 * 3 * static_cast<float>(number(3, 2, 4)) + 7);
  EXPECT_TRUE(std::isnan(out[1]));
}

TEST_F(EnviCube, BinnedTilesAndKeptChannels) {
  write(4, "bip", true, envi_bytes<float>("bip", true), "wavelength = {450, 550, 650, 850}\n");
  options_.bin = 2;
  options_.tile = Extent{2, 2};
  const auto source = open_cube(options_);
  EXPECT_THAT(names(*source), ElementsAre("500.0nm", "750.0nm"));
  ASSERT_EQ(source->size(), 2);
  EXPECT_EQ(at(source->read(1), 1, 1, 0), 75 + 12);
  const std::vector<std::int64_t> second{1};
  source->keep_channels(second);
  const std::int64_t before = source->bytes_decoded();
  EXPECT_EQ(at(source->read(1), 0, 1, 0), 75 + 12);
  EXPECT_EQ(source->bytes_decoded() - before, 2 * 2 * 2 * 4);
}

TEST_F(EnviCube, Mistakes) {
  write(1, "bsq", false, envi_bytes<std::uint8_t>("bsq", false));
  EXPECT_THAT(names(*open_cube(options_)), ElementsAre("B01", "B02", "B03", "B04"));
  CubeOptions options = options_;
  options.axes = "yxc";
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options); }), HasSubstr("axes is for HDF5"));
  options = options_;
  options.dataset = "cube";
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options); }), HasSubstr("no parts"));
  {
    test::Hdf5Writer file(folder_ + "/other.h5");
    file.counted("/cube", H5T_STD_U8LE, {2, 2, 2});
  }
  options = options_;
  options.files.push_back(folder_ + "/other.h5");
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options); }),
              AllOf(HasSubstr("is not HDF5 and"), HasSubstr("other.h5 is HDF5")));
  std::filesystem::remove(folder_ + "/cube.dat");
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options_); }), HasSubstr("no data file beside"));
}

TEST(CubeThroughGdal, ClassicNetcdf) {
  const std::string path = testing::TempDir() + "classic_cube.nc";
  {
    test::NetcdfWriter file(path, 0);
    const int b = file.dimension("wavelength", 3), y = file.dimension("y", 2),
              x = file.dimension("x", 4);
    const int centres = file.define("wavelength", NC_DOUBLE, {b});
    file.attribute(centres, "units", "um");
    const int rows = file.define("y", NC_DOUBLE, {y}), columns = file.define("x", NC_DOUBLE, {x});
    file.attribute(rows, "standard_name", "projection_y_coordinate");
    file.attribute(columns, "standard_name", "projection_x_coordinate");
    const int cube = file.define("reflectance", NC_FLOAT, {b, y, x});
    const int other = file.define("radiance", NC_FLOAT, {b, y, x});
    std::vector<double> values(24);
    for (std::size_t i = 0; i < 24; ++i) values[i] = static_cast<double>(i);
    file.write(centres, {0.45, 0.55, 0.65});
    file.write(rows, {20, 10});
    file.write(columns, {1, 2, 3, 4});
    file.write(other, values);
    for (double& v : values) v *= 2;
    file.write(cube, values);
  }
  CubeOptions options;
  options.files = {path};
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options); }), HasSubstr(":radiance"));
  options.dataset = "ance";
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options); }), HasSubstr("names none of"));
  options.dataset = "reflectance";
  const auto source = open_cube(options);
  EXPECT_THAT(names(*source), ElementsAre("450.0nm", "550.0nm", "650.0nm"));
  EXPECT_EQ(at(source->read(0), 2, 0, 3), 2 * (2 * 8 + 3));
  std::filesystem::remove(path);
}

TEST(CubeThroughGdal, TheSameTileAsGeotiffAndAsHdf5) {
  TRIB_NEEDS_DATA("hyperspectral/enmap_tif");
  for (const std::string tile : {"128_0", "96_96"}) {
    for (const std::vector<std::string>& bad : {std::vector<std::string>{"drop"}, {"keep"}}) {
      CubeOptions tif, h5;
      tif.bad_bands = h5.bad_bands = bad;
      tif.files = {test::data_file("hyperspectral/enmap_tif/enmap_potsdam_tile_" + tile + ".tif")};
      h5.files = {test::data_file("hyperspectral/enmap_potsdam_tile_" + tile + "_224band.h5")};
      const auto a = open_cube(tif), b = open_cube(h5);
      ASSERT_EQ(a->channels().size(), bad.front() == "drop" ? 218U : 224U);
      ASSERT_EQ(a->channels().size(), b->channels().size());
      EXPECT_EQ(names(*a), names(*b));
      for (std::size_t c = 0; c < a->channels().size(); ++c) {
        EXPECT_NEAR(a->channels()[c].wavelength_nm, b->channels()[c].wavelength_nm, 1e-3);
        EXPECT_NEAR(a->channels()[c].fwhm_nm, b->channels()[c].fwhm_nm, 1e-3);
      }
      const Image x = a->read(0), y = b->read(0);
      std::int64_t differing = 0;
      for (std::int64_t i = 0; i < x.data_cyx.numel(); ++i) {
        if (!same(x.data_cyx.data<float>()[i], y.data_cyx.data<float>()[i])) ++differing;
      }
      EXPECT_EQ(differing, 0);
      EXPECT_EQ(x.provenance.geo->transform, y.provenance.geo->transform);
    }
  }
}

// The HDF5 file holds (raw - dark) / (white - dark), with means of the references by column.
TEST(CubeThroughGdal, TheSameMaizeKernelAsEnviAndAsHdf5) {
  TRIB_NEEDS_DATA("hyperspectral/maize_kernel_envi");
  const auto read = [](const std::string& name) {
    CubeOptions options;
    options.files = {test::data_file("hyperspectral/" + name)};
    const auto source = open_cube(options);
    EXPECT_EQ(names(*source).at(300), "709.2nm");
    return source->read(0);
  };
  const Image raw = read("maize_kernel_envi/4-22-22_right_same_B73_top_00.hdr");
  const Image white = read("maize_kernel_envi/white_reference_crop.raw");
  const Image dark = read("maize_kernel_envi/dark_reference_crop.hdr");
  const Image h5 = read("maize_kernel_b73_580band.h5");
  ASSERT_EQ(raw.data_cyx.shape(), (Shape{580, 31, 43}));
  ASSERT_EQ(h5.data_cyx.shape(), (Shape{580, 31, 43}));
  double most = 0;
  for (std::int64_t c = 0; c < 580; ++c) {
    for (std::int64_t x = 0; x < 43; ++x) {
      double w = 0, d = 0;
      for (std::int64_t y = 0; y < 31; ++y) {
        w += at(white, c, y, x) / 31.0;
        d += at(dark, c, y, x) / 31.0;
      }
      for (std::int64_t y = 0; y < 31; ++y) {
        const double expected = (at(raw, c, y, x) - d) / (w - d);
        most = std::max(most, std::abs(expected - at(h5, c, y, x)) / std::max(1.0, expected));
      }
    }
  }
  EXPECT_LT(most, 1e-6);
}

}  // namespace
}  // namespace trib::io
