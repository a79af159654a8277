// Expected values of real files are from h5dump.
#include "io/cube/cube_source.h"

#include <cmath>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/hdf5_lock.h"
#include "ops/base/error.h"
#include "tests/io/hdf5_writer.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using test::Hdf5Writer;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<ImageSource> open_real(const std::string& file,
                                       std::vector<std::string> channels = {}) {
  CubeOptions options;
  options.files = {test::data_file("hyperspectral/" + file)};
  options.channels = std::move(channels);
  options.bad_bands = {"keep"};
  return open_cube(options);
}

std::vector<std::string> names(const ImageSource& source) {
  std::vector<std::string> out;
  for (const Channel& c : source.channels()) out.push_back(c.name);
  return out;
}

float at(const Image& image, std::int64_t c, std::int64_t y, std::int64_t x) {
  const Tensor& t = image.data_cyx;
  return t.data<float>()[(c * t.dim(1) + y) * t.dim(2) + x];
}

bool same(float a, float b) {
  return a == b || (std::isnan(a) && std::isnan(b));
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

TEST(CubeSource, NativeNeonLayout) {
  TRIB_NEEDS_DATA("hyperspectral/neon_sjer_native_426band.h5");
  const auto source = open_real("neon_sjer_native_426band.h5");
  ASSERT_EQ(source->size(), 1);
  ASSERT_EQ(source->channels().size(), 426U);
  EXPECT_EQ(source->extent(0), (Extent{30, 30}));
  EXPECT_EQ(source->channels()[50].name, "633.9nm");
  EXPECT_NEAR(source->channels()[425].wavelength_nm, 2511.89, 0.01);
  const Image image = source->read(0);
  EXPECT_FLOAT_EQ(at(image, 50, 29, 12), 0.0163F);
  EXPECT_FLOAT_EQ(at(image, 53, 29, 12), 0.0130F);
  ASSERT_NE(image.provenance.geo, nullptr);
  EXPECT_EQ(image.provenance.geo->crs_wkt, "EPSG:32611");
  EXPECT_THAT(image.provenance.geo->transform, ElementsAre(257000, 1, 0, 4112000, 0, -1));
  EXPECT_EQ(source->bytes_decoded(), 30 * 30 * 426 * 4);
}

TEST(CubeSource, ScaledCubesWithDeadBands) {
  TRIB_NEEDS_DATA("hyperspectral/enmap_potsdam_tile_128_0_224band.h5");
  CubeOptions options;
  options.files = {test::data_file("hyperspectral/enmap_potsdam_tile_128_0_224band.h5")};
  EXPECT_EQ(open_cube(options)->channels().size(), 218U);
  options.bad_bands = {"keep"};
  const auto source = open_cube(options);
  ASSERT_EQ(source->channels().size(), 224U);
  EXPECT_NEAR(source->channels()[0].fwhm_nm, 6.99561, 1e-5);
  const Image image = source->read(0);
  EXPECT_FLOAT_EQ(at(image, 100, 10, 20), 0.2808F);
  EXPECT_FLOAT_EQ(at(image, 103, 10, 20), 0.2932F);
  EXPECT_FLOAT_EQ(at(image, 2, 31, 0), 0.0552F);
  EXPECT_THAT(image.provenance.geo->transform, ElementsAre(366015, 30, 0, testing::_, 0, -30));
  EXPECT_EQ(image.provenance.geo->crs_wkt, "EPSG:32633");
  int dead = 0;
  for (std::int64_t c = 0; c < 224; ++c) {
    bool all_missing = true;
    for (std::int64_t i = 0; i < 32 * 32; ++i) {
      all_missing = all_missing && std::isnan(image.data_cyx.data<float>()[c * 32 * 32 + i]);
    }
    dead += all_missing ? 1 : 0;
  }
  EXPECT_EQ(dead, 6);
  EXPECT_EQ(open_real("enmap_potsdam_tile_128_0_224band.h5", {"400nm..900nm"})->channels().size(),
            79U);
}

TEST(CubeSource, OtherCubes) {
  TRIB_NEEDS_DATA("hyperspectral/maize_kernel_b73_580band.h5");
  const auto maize = open_real("maize_kernel_b73_580band.h5");
  EXPECT_EQ(maize->extent(0), (Extent{31, 43}));
  EXPECT_FLOAT_EQ(at(maize->read(0), 301, 30, 42), 0.0812894627F);
  EXPECT_FLOAT_EQ(at(maize->read(0), 0, 3, 4), 0.720430076F);
  const auto jasper = open_real("jasper_ridge_aviris_198band.h5", {"101..103"});
  const Image image = jasper->read(0);
  EXPECT_FLOAT_EQ(at(image, 0, 50, 60), 2894 * 0.0002F);
  EXPECT_FLOAT_EQ(at(image, 2, 50, 60), 2751 * 0.0002F);
  EXPECT_EQ(jasper->bytes_decoded(), 100 * 100 * 3 * 2);
}

TEST(CubeSource, ChannelsByWavelengthNameAndNumber) {
  TRIB_NEEDS_DATA("hyperspectral/neon_sjer_native_426band.h5");
  const std::string file = "neon_sjer_native_426band.h5";
  EXPECT_THAT(names(*open_real(file, {"650nm", "0.640um", "51", "383.5nm", "643nm..645nm"})),
              ElementsAre("649.0nm", "638.9nm", "633.9nm", "383.5nm", "643.9nm"));
  EXPECT_THAT(error_of<ConfigError>([&] { open_real(file, {"300nm"}); }),
              HasSubstr("no channel lies near '300nm'; the nearest is '383.5nm'"));
  EXPECT_THAT(error_of<ConfigError>([&] { open_real(file, {"3um..4um"}); }),
              HasSubstr("in '3um..4um'"));
}

TEST(CubeSource, PartsEqualTheWhole) {
  TRIB_NEEDS_DATA("hyperspectral/neon_sjer_native_426band.h5");
  for (const char* file : {"neon_sjer_native_426band.h5", "enmap_potsdam_tile_96_96_224band.h5",
                           "jasper_ridge_aviris_198band.h5", "maize_kernel_b73_580band.h5"}) {
    const auto whole = open_real(file);
    const Image full = whole->read(0);
    // Runs, single channels and not in order.
    const std::vector<std::int64_t> wanted{149, 150, 9, 10, 11, 12, 100, 3};
    const auto part = open_real(file, {"150..151", "10..13", "101", "4"});
    const Extent e = whole->extent(0);
    const Window w{e.height / 5, e.width / 3, e.height / 2, e.width / 2};
    const Image image = part->read(0, w);
    ASSERT_EQ(image.data_cyx.shape(), (Shape{8, w.height, w.width}));
    EXPECT_EQ(image.provenance.window, w);
    for (std::int64_t c = 0; c < 8; ++c) {
      for (std::int64_t y = 0; y < w.height; ++y) {
        for (std::int64_t x = 0; x < w.width; ++x) {
          ASSERT_TRUE(same(at(image, c, y, x),
                           at(full, wanted[static_cast<std::size_t>(c)], w.y + y, w.x + x)))
              << file << " " << c << " " << y << " " << x;
        }
      }
    }
    EXPECT_EQ(part->bytes_decoded() * e.height * e.width * std::ssize(whole->channels()),
              whole->bytes_decoded() * w.height * w.width * 8);
    EXPECT_THROW(part->read(0, Window{0, 0, 1, e.width + 1}), DataError);
  }
}

TEST(CubeSource, TilesAndLabels) {
  TRIB_NEEDS_DATA("hyperspectral/jasper_ridge_aviris_198band.h5");
  CubeOptions options;
  options.files = {test::data_file("hyperspectral/jasper_ridge_aviris_198band.h5")};
  options.channels = {"1"};
  options.labels = "labels";
  EXPECT_EQ(open_cube(options)->provenance(0).label, 0);  // tree: 3492 of 10000 pixels
  options.tile = Extent{32, 48};
  const auto tiles = open_cube(options);
  ASSERT_EQ(tiles->size(), 3 * 2);
  const Image whole = open_real("jasper_ridge_aviris_198band.h5", {"1"})->read(0);
  const Image tile = tiles->read(3, Window{1, 2, 3, 4});
  EXPECT_EQ(tile.provenance.window, (Window{33, 50, 3, 4}));
  EXPECT_EQ(at(tile, 0, 2, 3), at(whole, 0, 35, 53));
  options.keep_partial_tiles = true;
  EXPECT_EQ(open_cube(options)->size(), 4 * 3);
  EXPECT_EQ(open_cube(options)->extent(11), (Extent{4, 4}));
}

TEST(CubeSource, FourThreadsReadTheSame) {
  TRIB_NEEDS_DATA("hyperspectral/enmap_potsdam_tile_96_96_224band.h5");
  CubeOptions options;
  options.files = {test::data_file("hyperspectral/enmap_*.h5")};
  options.tile = Extent{8, 8};
  options.max_open_files = 1;
  const auto source = open_cube(options);
  ASSERT_EQ(source->size(), 32);
  std::vector<Image> expected;
  for (std::int64_t i = 0; i < source->size(); ++i) expected.push_back(source->read(i));
  std::vector<int> wrong(4, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::int64_t i = 0; i < source->size(); ++i) {
          const std::int64_t item = (i * 5 + static_cast<std::int64_t>(t)) % source->size();
          const Image image = source->read(item);
          const Tensor& other = expected[static_cast<std::size_t>(item)].data_cyx;
          for (std::int64_t k = 0; k < other.numel(); ++k) {
            if (!same(image.data_cyx.data<float>()[k], other.data<float>()[k])) ++wrong[t];
          }
        }
      });
    }
  }
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

TEST(CubeSource, FilesMustAgreeOnTheChannels) {
  TRIB_NEEDS_DATA("hyperspectral/maize_kernel_b73_580band.h5");
  CubeOptions options;
  options.files = {test::data_file("hyperspectral/jasper_ridge_aviris_198band.h5"),
                   test::data_file("hyperspectral/maize_kernel_b73_580band.h5")};
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options); }),
              AllOf(HasSubstr("maize_kernel_b73_580band.h5 has no band "),
                    HasSubstr("jasper_ridge_aviris_198band.h5 has")));
}

// Files written here.
class CubeFileTest : public testing::Test {
 protected:
  CubeFileTest() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = testing::TempDir() + "cube_" + info->name() + ".h5";
    options_.files = {path_};
  }
  ~CubeFileTest() override { std::filesystem::remove(path_); }

  std::string path_;
  CubeOptions options_;
};

TEST_F(CubeFileTest, ChannelsFirstByTheListOfWavelengths) {
  {
    Hdf5Writer file(path_);
    file.counted("/scan/cube", H5T_STD_I16BE, {4, 3, 5}, {2, 2, 2});
    file.dataset("/scan/bands/Wavelengths", H5T_IEEE_F32LE, {4}, {0.45, 0.55, 0.65, 0.86});
    file.attribute("/scan/cube", "nodata", {7});
  }
  options_.channels = {"0.6um..0.9um", "450.0nm"};
  const auto source = open_cube(options_);
  EXPECT_THAT(names(*source), ElementsAre("650.0nm", "860.0nm", "450.0nm"));
  EXPECT_EQ(source->extent(0), (Extent{3, 5}));
  const Image image = source->read(0, Window{1, 2, 2, 2});
  EXPECT_EQ(at(image, 0, 0, 0), 2 * 15 + 7);
  EXPECT_EQ(at(image, 1, 1, 1), 3 * 15 + 13);
  EXPECT_TRUE(std::isnan(at(image, 2, 0, 0)));
  EXPECT_EQ(at(image, 2, 0, 1), 8);
  EXPECT_EQ(source->bytes_decoded(), 3 * 4 * 2);
}

TEST_F(CubeFileTest, WavelengthsOfAnAttributeAndAxesGiven) {
  {
    Hdf5Writer file(path_);
    file.counted("/a", H5T_IEEE_F64LE, {2, 2, 2});
    file.attribute("/a", "bands", {500, 600});
    file.counted("/b", H5T_IEEE_F64LE, {2, 2, 2});
    file.counted("/flat", H5T_IEEE_F64LE, {2, 2});
  }
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }),
              AllOf(HasSubstr("several datasets may be the cube"), HasSubstr("/a f64 [2, 2, 2]"),
                    HasSubstr("/b f64 [2, 2, 2]")));
  options_.dataset = "a";
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }),
              HasSubstr("cannot tell which axis of [2, 2, 2] is the channel"));
  options_.wavelengths = "/a/bands";
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }), HasSubstr("2 wavelengths"));
  options_.axes = "ycx";
  options_.scale = 10;
  const auto source = open_cube(options_);
  EXPECT_THAT(names(*source), ElementsAre("500.0nm", "600.0nm"));
  EXPECT_EQ(at(source->read(0), 1, 0, 1), 30);
  EXPECT_EQ(at(source->read(0), 0, 1, 1), 50);
  options_.axes = "yyx";
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }), HasSubstr("axes \"yyx\""));
  options_.dataset = "/flat";
  EXPECT_EQ(error_of<DataError>([&] { open_cube(options_); }),
            path_ + "/flat has 2 axes [2, 2], expected 3 (y, x, channel)");
  options_.dataset = "c";
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options_); }),
              HasSubstr("has no dataset \"c\"; it has /a f64 [2, 2, 2]"));
}

TEST_F(CubeFileTest, WithoutWavelengthsChannelsAreNumbered) {
  {
    Hdf5Writer file(path_);
    file.counted("/cube", H5T_STD_U8LE, {2, 2, 3});
    file.text_attribute("/cube", "dimension_labels", "y,x,band");
    file.attribute("/cube", "scale_factor", {255});
  }
  options_.channels = {"B03", "1"};
  const auto source = open_cube(options_);
  EXPECT_THAT(names(*source), ElementsAre("B03", "B01"));
  EXPECT_FLOAT_EQ(at(source->read(0), 0, 1, 1), 11 / 255.0F);
  options_.channels = {"550nm"};
  EXPECT_THAT(error_of<ConfigError>([&] { open_cube(options_); }),
              HasSubstr("selected by wavelength, but the file gives none"));
}

// Messages about reads that hang name their tiles.
TEST_F(CubeFileTest, TilesAreKnownWithoutTouchingTheFile) {
  {
    Hdf5Writer file(path_);
    file.counted("/cube", H5T_STD_U8LE, {4, 4, 3});
    file.text_attribute("/cube", "dimension_labels", "y,x,band");
    file.dataset("/classes", H5T_STD_U8LE, {4, 4},
                 {1, 1, 2, 2,  //
                  1, 1, 2, 2,  //
                  3, 3, 4, 5,  //
                  3, 3, 5, 5});
  }
  options_.labels = "classes";
  options_.tile = Extent{2, 2};
  const auto source = open_cube(options_);
  EXPECT_EQ(source->read(1).provenance.label, 2);
  EXPECT_EQ(source->read(3).provenance.label, 5);
  EXPECT_EQ(source->read(3, Window{0, 0, 1, 1}).provenance.label, 4);
  EXPECT_EQ(source->label(3, Window{0, 0, 1, 1}), 4);
  EXPECT_EQ(source->label(3, {}), 5);
  std::unique_lock hanging(hdf5_family_lock());
  auto labels = std::async(std::launch::async, [&] {
    std::vector<std::int32_t> all;
    for (std::int64_t i = 0; i < 4; ++i) all.push_back(source->provenance(i).label);
    return all;
  });
  EXPECT_EQ(labels.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  hanging.unlock();
  EXPECT_THAT(labels.get(), ElementsAre(1, 2, 3, 5));
}

TEST_F(CubeFileTest, DamageIsReported) {
  {
    Hdf5Writer file(path_);
    file.counted("/cube", H5T_STD_I32LE, {40, 30, 20}, {8, 8, 8});
    file.text_attribute("/cube", "dimension_labels", "y,x,band");
  }
  const auto size = std::filesystem::file_size(path_);
  // Zero the middle of the file: the header opens, chunks do not inflate.
  {
    std::FILE* file = std::fopen(path_.c_str(), "r+b");
    ASSERT_NE(file, nullptr);
    std::fseek(file, static_cast<long>(size / 2), SEEK_SET);
    const std::vector<char> zeros(size / 4, 0);
    std::fwrite(zeros.data(), 1, zeros.size(), file);
    std::fclose(file);
  }
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options_)->read(0); }),
              AllOf(HasSubstr(path_), HasSubstr("/cube: chunk at"), HasSubstr("deflated bytes")));
  std::filesystem::resize_file(path_, size - 1000);
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options_); }),
              AllOf(HasSubstr(path_), HasSubstr("truncated")));
  std::filesystem::resize_file(path_, 0);
  EXPECT_THAT(error_of<DataError>([&] { open_cube(options_); }), HasSubstr("an empty file"));
}

}  // namespace
}  // namespace trib::io
