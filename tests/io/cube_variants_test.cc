// Cubes in HDF5 files written in less usual ways: by MATLAB and h5py, with links and lists of text.
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include "io/cube/cube_source.h"
#include "ops/base/error.h"
#include "tests/io/hdf5_writer.h"
#include "tests/io/netcdf_writer.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using test::Hdf5Writer;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<double> kCentres{450, 550, 650, 850};

class CubeVariants : public testing::Test {
 protected:
  CubeVariants() { options_.files = {path_}; }

  float at(std::int64_t c, std::int64_t y, std::int64_t x) const {
    const Image image = open_cube(options_)->read(0);
    const Tensor& t = image.data_cyx;
    return t.data<float>()[(c * t.dim(1) + y) * t.dim(2) + x];
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    const auto source = open_cube(options_);
    for (const Channel& c : source->channels()) out.push_back(c.name);
    return out;
  }
  std::string error() const {
    try {
      open_cube(options_)->read(0);
    } catch (const DataError& e) {
      return e.what();
    }
    return "no error";
  }
  // A list of texts of four characters.
  static void write_texts(hid_t file, const char* name, const std::string& texts) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 4);
    const hsize_t count = texts.size() / 4;
    const hid_t space = H5Screate_simple(1, &count, nullptr);
    const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts.data()), 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Tclose(type);
  }

  test::TempDir temp_;
  std::string path_ = temp_.file("cube.h5");
  CubeOptions options_;
};

TEST_F(CubeVariants, BehindABlockOfTheUser) {
  for (const hsize_t block : {512, 4096}) {
    {
      Hdf5Writer file(path_, block);
      file.counted("/cube", H5T_STD_U16LE, {2, 3, 4}, {1, 2, 3});
      file.counted("/plain", H5T_STD_U16LE, {2, 3, 4});
      file.dataset("/wavelength", H5T_IEEE_F64LE, {4}, kCentres);
    }
    for (const char* dataset : {"cube", "plain"}) {
      options_.dataset = dataset;
      EXPECT_EQ(at(3, 1, 2), 23) << block << dataset;
      EXPECT_EQ(at(1, 0, 1), 5) << block << dataset;
    }
  }
}

TEST_F(CubeVariants, OfMatlabHasItsAxesTheOtherWayRound) {
  {
    Hdf5Writer file(path_, 512);
    file.counted("/cube", H5T_IEEE_F64LE, {4, 2, 3});
    file.text_attribute("/cube", "MATLAB_class", "double");
    file.dataset("/wavelength", H5T_IEEE_F64LE, {1, 4}, kCentres);
  }
  EXPECT_EQ(open_cube(options_)->extent(0), (Extent{3, 2}));
  EXPECT_THAT(names(), ElementsAre("450.0nm", "550.0nm", "650.0nm", "850.0nm"));
  EXPECT_EQ(at(1, 2, 0), 6 + 2);
  EXPECT_EQ(at(1, 0, 1), 6 + 3);
}

TEST_F(CubeVariants, WavelengthsAndFactorsAsText) {
  {
    Hdf5Writer file(path_);
    file.counted("/cube", H5T_STD_I16LE, {2, 3, 4});
    file.text_attribute("/cube", "scale_factor", "100");
    file.text_attribute("/cube", "nodata", "23");
    write_texts(file.id(), "/band_centers", "450 550 650 850 ");
  }
  EXPECT_THAT(names(), ElementsAre("450.0nm", "550.0nm", "650.0nm", "850.0nm"));
  EXPECT_FLOAT_EQ(at(0, 1, 2), 0.2F);
  EXPECT_TRUE(std::isnan(at(3, 1, 2)));
}

TEST_F(CubeVariants, UnitsOfWavelengths) {
  struct Case {
    const char* units;
    double factor;
  };
  for (const Case& c : {Case{"m", 1e-9}, Case{"Angstrom", 10}, Case{"um", 1e-3}}) {
    {
      Hdf5Writer file(path_);
      file.counted("/cube", H5T_STD_I16LE, {2, 3, 4});
      std::vector<double> list;
      for (const double centre : kCentres) list.push_back(centre * c.factor);
      file.dataset("/wavelength", H5T_IEEE_F64LE, {4}, list);
      file.text_attribute("/wavelength", "units", c.units);
    }
    EXPECT_THAT(names(), ElementsAre("450.0nm", "550.0nm", "650.0nm", "850.0nm")) << c.units;
  }
}

TEST_F(CubeVariants, TruthValuesOfBands) {
  {
    Hdf5Writer file(path_);
    file.counted("/cube", H5T_STD_I16LE, {2, 3, 4});
    file.dataset("/wavelength", H5T_IEEE_F64LE, {4}, kCentres);
    const hid_t truth = H5Tenum_create(H5T_STD_I8LE);
    const signed char no = 0, yes = 1;
    H5Tenum_insert(truth, "FALSE", &no);
    H5Tenum_insert(truth, "TRUE", &yes);
    const signed char good[] = {1, 0, 1, 1};
    const hsize_t count = 4;
    const hid_t space = H5Screate_simple(1, &count, nullptr);
    const hid_t set = H5Dcreate2(file.id(), "/good_wavelengths", truth, space, H5P_DEFAULT,
                                 H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(H5Dwrite(set, truth, H5S_ALL, H5S_ALL, H5P_DEFAULT, good), 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Tclose(truth);
  }
  EXPECT_THAT(names(), ElementsAre("450.0nm", "650.0nm", "850.0nm"));
}

TEST_F(CubeVariants, BehindALinkToAnotherFile) {
  {
    Hdf5Writer file(temp_.file("target.h5"));
    file.counted("/padding", H5T_STD_I64LE, {1000});
    file.counted("/stored", H5T_STD_I16LE, {2, 3, 4}, {1, 2, 3});
  }
  {
    Hdf5Writer file(path_);
    file.dataset("/wavelength", H5T_IEEE_F64LE, {4}, kCentres);
    H5Lcreate_external("target.h5", "/stored", file.id(), "cube", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("absent.h5", "/stored", file.id(), "lost", H5P_DEFAULT, H5P_DEFAULT);
  }
  EXPECT_EQ(at(3, 1, 2), 23);
  EXPECT_EQ(at(1, 0, 1), 5);
}

TEST_F(CubeVariants, MadeOfFilesThatAreNotThere) {
  {
    Hdf5Writer file(path_);
    file.dataset("/wavelength", H5T_IEEE_F64LE, {4}, kCentres);
    const hsize_t shape[] = {2, 3, 4};
    const hid_t space = H5Screate_simple(3, shape, nullptr);
    const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_virtual(create, space, "absent.h5", "/stored", space);
    H5Dclose(
        H5Dcreate2(file.id(), "/cube", H5T_STD_I16LE, space, H5P_DEFAULT, create, H5P_DEFAULT));
    H5Pclose(create);
    H5Sclose(space);
  }
  EXPECT_THAT(error(), HasSubstr("/cube takes data from absent.h5, which is not there"));
}

TEST_F(CubeVariants, OfPaceInGroups) {
  {
    test::NetcdfWriter file(path_);
    const int lines = file.dimension("number_of_lines", 3);
    const int pixels = file.dimension("pixels_per_line", 3);
    const int bands = file.dimension("wavelength_3d", 3);
    const int cube = file.define("Rrs", NC_FLOAT, {lines, pixels, bands});
    const int centres = file.define("wavelength_3d", NC_SHORT, {bands});
    file.attribute(centres, "units", "nm");
    std::vector<double> values(27);
    std::iota(values.begin(), values.end(), 0.0);
    file.write(cube, values);
    file.write(centres, {450, 550, 650});
  }
  EXPECT_THAT(names(), ElementsAre("450.0nm", "550.0nm", "650.0nm"));
  EXPECT_EQ(at(1, 2, 0), 2 * 9 + 1);
}

}  // namespace
}  // namespace trib::io
