#include "io/raster/raster_source.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/hdf5_lock.h"
#include "ops/base/error.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

const char* const kLandsat = "satellite/landsat_sentinel/L7_ETMs.tif";
const char* const kEnmap = "hyperspectral/enmap_tif/enmap_potsdam_tile_128_0.tif";
const char* const kEurosat = "satellite/eurosat_rgb_3000.zip";

RasterOptions options_for(const std::string& name) {
  RasterOptions options;
  options.files = {test::data_file(name)};
  return options;
}

float at(const Image& image, std::int64_t c, std::int64_t y, std::int64_t x) {
  const Tensor& t = image.data_cyx;
  return t.data<float>()[(c * t.dim(1) + y) * t.dim(2) + x];
}

std::int64_t count_missing(const Image& image, std::int64_t channel) {
  const Tensor plane = image.data_cyx.select(0, channel);
  std::int64_t missing = 0;
  for (std::int64_t i = 0; i < plane.numel(); ++i) missing += std::isnan(plane.data<float>()[i]);
  return missing;
}

bool same_pixels(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.bytes(), b.bytes(), a.nbytes()) == 0;
}

/// The error of opening the files and reading all of their images.
template <class Expected>
std::string message(const RasterOptions& options) {
  try {
    const auto source = open_raster(options);
    for (std::int64_t i = 0; i < source->size(); ++i) source->read(i);
  } catch (const Expected& error) {
    return error.what();
  }
  return "";
}

// Expected values below were read with GDAL's own tools (gdal.Open(...).ReadAsArray()).

TEST(RasterSource, ReadsLandsatBands) {
  TRIB_NEEDS_DATA(kLandsat);
  const auto source = open_raster(options_for(kLandsat));
  ASSERT_EQ(source->size(), 1);
  EXPECT_EQ(source->extent(0), (Extent{352, 349}));
  ASSERT_EQ(source->channels().size(), 6u);
  EXPECT_EQ(source->channels()[5].name, "B06");

  const Image image = source->read(0);
  EXPECT_EQ(image.data_cyx.shape(), (Shape{6, 352, 349}));
  EXPECT_EQ(at(image, 0, 0, 0), 69);
  EXPECT_EQ(at(image, 2, 100, 200), 103);
  EXPECT_EQ(at(image, 5, 351, 348), 12);
  const std::int64_t sums[] = {9723139, 8301410, 7906357, 7276952, 10218824, 7367834};
  for (std::int64_t c = 0; c < 6; ++c) {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < 352 * 349; ++i) {
      sum += static_cast<std::int64_t>(at(image, c, i / 349, i % 349));
    }
    EXPECT_EQ(sum, sums[c]) << c;
  }
  ASSERT_NE(image.provenance.geo, nullptr);
  EXPECT_THAT(image.provenance.geo->crs_wkt, HasSubstr("UTM zone 25S"));
  EXPECT_NEAR(image.provenance.geo->transform[0], 288776.25, 1e-3);
  EXPECT_EQ(image.provenance.window, (Window{0, 0, 352, 349}));
}

TEST(RasterSource, ReadsOnlyTheBandsAndTheWindowAskedFor) {
  TRIB_NEEDS_DATA(kLandsat);
  const Image whole = open_raster(options_for(kLandsat))->read(0);
  RasterOptions options = options_for(kLandsat);
  options.channels = {"B05", "1..2"};
  const auto source = open_raster(options);
  EXPECT_EQ(source->bytes_decoded(), 0);
  const Window window{100, 50, 30, 40};
  const Image part = source->read(0, window);
  EXPECT_EQ(source->bytes_decoded(), 3 * 30 * 40);
  EXPECT_EQ(part.provenance.window, window);
  const std::int64_t bands[] = {4, 0, 1};
  for (std::int64_t c = 0; c < 3; ++c) {
    const Tensor expected =
        whole.data_cyx.select(0, bands[c]).slice(0, 100, 130).slice(1, 50, 90).contiguous();
    EXPECT_TRUE(same_pixels(part.data_cyx.select(0, c), expected)) << c;
  }
}

TEST(RasterSource, RejectsWindowsOutsideTheImage) {
  TRIB_NEEDS_DATA(kLandsat);
  RasterOptions options = options_for(kLandsat);
  const auto source = open_raster(options);
  EXPECT_THROW(source->read(0, Window{340, 0, 20, 20}), DataError);
  EXPECT_THROW(source->read(0, Window{-1, 0, 20, 20}), DataError);
  EXPECT_THROW(source->read(0, Window{0, 0, 0, 20}), DataError);
  EXPECT_THROW(source->read(1), RuntimeError);
  options.window = Window{300, 300, 52, 50};
  EXPECT_THAT(message<DataError>(options), AllOf(HasSubstr("L7_ETMs.tif"), HasSubstr("352 x 349")));
}

TEST(RasterSource, CutsTiles) {
  TRIB_NEEDS_DATA(kLandsat);
  const Image whole = open_raster(options_for(kLandsat))->read(0);
  RasterOptions options = options_for(kLandsat);
  options.tile = Extent{100, 80};
  const auto source = open_raster(options);
  EXPECT_EQ(source->size(), 3 * 4);
  const Image tile = source->read(6);
  EXPECT_EQ(tile.provenance.window, (Window{100, 160, 100, 80}));
  EXPECT_TRUE(same_pixels(tile.data_cyx,
                          whole.data_cyx.slice(1, 100, 200).slice(2, 160, 240).contiguous()));
  EXPECT_EQ(source->read(6, Window{5, 6, 7, 8}).provenance.window, (Window{105, 166, 7, 8}));

  options.keep_partial_tiles = true;
  const auto all = open_raster(options);
  EXPECT_EQ(all->size(), 4 * 5);
  EXPECT_EQ(all->extent(19), (Extent{52, 29}));
  EXPECT_EQ(all->read(19).data_cyx.shape(), (Shape{6, 52, 29}));

  options.window = Window{10, 20, 200, 160};
  const auto windowed = open_raster(options);
  EXPECT_EQ(windowed->size(), 4);
  EXPECT_EQ(windowed->provenance(3).window, (Window{110, 100, 100, 80}));

  options.keep_partial_tiles = false;
  options.tile = Extent{400, 400};
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("do not fit"));
  options.tile = Extent{0, 4};
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("positive size"));
}

TEST(RasterSource, SelectsEnmapBandsByWavelengthAndScalesThem) {
  TRIB_NEEDS_DATA(kEnmap);
  RasterOptions options = options_for(kEnmap);
  const auto all = open_raster(options);
  ASSERT_EQ(all->channels().size(), 224u);
  EXPECT_EQ(all->channels()[0].name, "band 1 (418.24 Nanometers)");
  EXPECT_DOUBLE_EQ(all->channels()[0].wavelength_nm, 418.24);
  const Image image = all->read(0);
  EXPECT_FLOAT_EQ(at(image, 0, 0, 0), 318 * 1e-4F);
  EXPECT_FLOAT_EQ(at(image, 100, 10, 20), 2808 * 1e-4F);
  EXPECT_FLOAT_EQ(at(image, 223, 31, 31), 1258 * 1e-4F);
  int missing_bands = 0;
  for (std::int64_t c = 0; c < 224; ++c) missing_bands += count_missing(image, c) == 32 * 32;
  EXPECT_EQ(missing_bands, 6);

  options.channels = {"420nm..440nm"};
  const auto blue = open_raster(options);
  ASSERT_EQ(blue->channels().size(), 4u);
  EXPECT_TRUE(same_pixels(blue->read(0).data_cyx, image.data_cyx.slice(0, 1, 5)));
  EXPECT_EQ(blue->bytes_decoded(), 4 * 32 * 32 * 4);

  options.apply_scale = false;
  options.channels = {"1"};
  EXPECT_EQ(at(open_raster(options)->read(0), 0, 0, 0), 318);
}

TEST(RasterSource, NamesEnviBandsByWavelength) {
  const char* const name = "hyperspectral/maize_kernel_envi/4-22-22_right_same_B73_top_00.raw";
  TRIB_NEEDS_DATA(name);
  RasterOptions options = options_for(name);
  options.channels = {"366.551 nm", "400nm..402nm"};
  const auto source = open_raster(options);
  ASSERT_GE(source->channels().size(), 2u);
  EXPECT_DOUBLE_EQ(source->channels()[0].wavelength_nm, 366.551);
  for (std::size_t i = 1; i < source->channels().size(); ++i) {
    EXPECT_NEAR(source->channels()[i].wavelength_nm, 401, 1);
  }
  EXPECT_EQ(source->read(0).data_cyx.dim(1), 31);
}

TEST(RasterSource, AppliesScaleOffsetAndNodataOfEachBand) {
  const char* const name = "satellite/geotiff_variants/cog_scale.tif";
  TRIB_NEEDS_DATA(name);
  RasterOptions options = options_for(name);
  const Image image = open_raster(options)->read(0);
  EXPECT_FLOAT_EQ(at(image, 0, 128, 128), 261 * 1e-4F + 1000);
  EXPECT_FLOAT_EQ(at(image, 1, 200, 30), 6925 * 1e-3F + 2000);
  EXPECT_EQ(count_missing(image, 0), 6);
  EXPECT_EQ(count_missing(image, 1), 6);

  options.nodata = 261;
  const Image other = open_raster(options)->read(0);
  EXPECT_TRUE(std::isnan(at(other, 0, 128, 128)));
  EXPECT_GT(count_missing(other, 0), 0);
}

TEST(RasterSource, MarksMissingPixelsWithNaN) {
  TRIB_NEEDS_DATA("satellite/geotiff_variants");
  const Image nan = open_raster(options_for("satellite/geotiff_variants/float_nan.tif"))->read(0);
  EXPECT_FLOAT_EQ(at(nan, 0, 0, 1), 1.23F);
  EXPECT_TRUE(std::isnan(at(nan, 0, 0, 2)));
  EXPECT_EQ(count_missing(nan, 0), 1);

  const auto empty = open_raster(options_for("satellite/geotiff_variants/all-nodata.tif"));
  EXPECT_EQ(empty->channels()[3].name, "nir");
  const Image all_missing = empty->read(0);
  for (std::int64_t c = 0; c < 4; ++c) EXPECT_EQ(count_missing(all_missing, c), 71 * 2475);

  const Image masked =
      open_raster(options_for("satellite/geotiff_variants/cog_rgb_mask.tif"))->read(0);
  for (std::int64_t c = 0; c < 3; ++c) EXPECT_EQ(count_missing(masked, c), 2739);
  EXPECT_EQ(at(masked, 0, 116, 190), 127);
  EXPECT_EQ(at(masked, 2, 116, 190), 108);
}

TEST(RasterSource, ReadsSentinel2AndJpeg2000) {
  TRIB_NEEDS_DATA("satellite/landsat_sentinel");
  const Image toa =
      open_raster(
          options_for("satellite/landsat_sentinel/S2A1C_20170703_022_Barbellino_TOA_10.tif"))
          ->read(0);
  EXPECT_EQ(toa.data_cyx.shape(), (Shape{12, 42, 24}));
  EXPECT_EQ(at(toa, 0, 0, 0), 1370);
  EXPECT_EQ(at(toa, 11, 41, 23), 893);
  EXPECT_EQ(at(toa, 7, 20, 10), 2512);

  const auto jp2 = open_raster(options_for("satellite/landsat_sentinel/B01.jp2"));
  EXPECT_EQ(jp2->extent(0), (Extent{1830, 1830}));
  EXPECT_EQ(jp2->read(0, Window{1000, 1000, 64, 64}).data_cyx.numel(), 64 * 64);
  EXPECT_EQ(jp2->bytes_decoded(), 64 * 64 * 2);
}

TEST(RasterSource, ReadsNetcdfThroughGdal) {
  const char* const name = "era5/era5_t2m_global_0p25_cds_2019.nc";
  TRIB_NEEDS_DATA(name);
  RasterOptions options;
  options.files = {"NETCDF:\"" + test::data_file(name) + "\":t2m"};
  const auto source = open_raster(options);
  EXPECT_EQ(source->extent(0), (Extent{721, 1440}));
  const Image image = source->read(0);
  EXPECT_GT(at(image, 0, 360, 0), 285);  // kelvin, Gulf of Guinea
  EXPECT_LT(at(image, 0, 360, 0), 310);

  EXPECT_THAT(message<DataError>(options_for("era5/era5_pl_zTuv_8lev_newcds.nc")),
              AllOf(HasSubstr("no raster bands"), HasSubstr(":t")));
}

TEST(RasterSource, ReadsEurosatWithLabelsFromTheArchive) {
  TRIB_NEEDS_DATA(kEurosat);
  RasterOptions options;
  options.files = {"/vsizip/" + test::data_file(kEurosat) + "/*/*.jpg"};
  options.label_from = "folder";
  const auto source = open_raster(options);
  ASSERT_EQ(source->size(), 3000);
  std::vector<int> count(10, 0);
  for (std::int64_t i = 0; i < 3000; ++i) {
    EXPECT_EQ(source->extent(i), (Extent{64, 64}));
    ++count.at(static_cast<std::size_t>(source->provenance(i).label));
  }
  EXPECT_THAT(count, testing::Each(300));

  options.label_from = test::data_file("satellite/eurosat_rgb_3000_labels.csv");
  const auto tabled = open_raster(options);
  for (std::int64_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(tabled->provenance(i).label, source->provenance(i).label) << i;
  }

  options.files = {"/vsizip/" + test::data_file(kEurosat) + "/River/River_11.jpg"};
  const Image river = open_raster(options)->read(0);
  EXPECT_EQ(river.data_cyx.shape(), (Shape{3, 64, 64}));
  const float expected[] = {42, 66, 78};
  for (std::int64_t c = 0; c < 3; ++c) EXPECT_EQ(at(river, c, 10, 20), expected[c]);
}

TEST(RasterSource, GivesTheSamePixelsToFourThreads) {
  TRIB_NEEDS_DATA(kLandsat);
  RasterOptions options = options_for(kLandsat);
  options.files.push_back(
      test::data_file("satellite/landsat_sentinel/m_3607717_sw_18_1_20160620_subset.tif"));
  options.channels = {"1..4"};
  options.tile = Extent{60, 60};
  const auto source = open_raster(options);
  ASSERT_EQ(source->size(), 2 * 25);
  std::vector<Image> expected;
  for (std::int64_t i = 0; i < source->size(); ++i) expected.push_back(source->read(i));

  std::vector<int> different(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t n = 0; n < 200; ++n) {
        const std::int64_t i = (n * 7 + static_cast<std::int64_t>(t) * 13) % source->size();
        different[t] +=
            !same_pixels(source->read(i).data_cyx, expected[static_cast<std::size_t>(i)].data_cyx);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(different, testing::Each(0));
  EXPECT_EQ(source->bytes_decoded(), (50 + 800) * 4 * 60 * 60);
}

TEST(RasterSource, FindsChannelsByNameInEveryFile) {
  TRIB_NEEDS_DATA("satellite/geotiff_variants/all-nodata.tif");
  RasterOptions options = options_for("satellite/geotiff_variants/all-nodata.tif");
  options.channels = {"nir"};
  options.files.push_back(test::data_file("satellite/geotiff_variants/cog_scale.tif"));
  EXPECT_THAT(message<DataError>(options),
              AllOf(HasSubstr("cog_scale.tif: has no channel 'nir'"), HasSubstr("all-nodata.tif")));
  options.channels = {"nri"};
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("did you mean 'nir'?"));
}

TEST(RasterSource, ReportsDamagedFilesInsteadOfReadingThem) {
  for (const char* name : {"byte_buggy_packbits.tif", "byte_zstd_corrupted.tif", "corrupt.tif",
                           "corrupted_deflate_singlestrip.tif", "small_world_truncated.jp2"}) {
    TRIB_NEEDS_DATA(std::string("satellite/corrupt/") + name);
    const std::string text =
        message<DataError>(options_for(std::string("satellite/corrupt/") + name));
    EXPECT_THAT(text, AllOf(HasSubstr(name),
                            testing::AnyOf(HasSubstr("channel 'B01' cannot be read"),
                                           HasSubstr("damaged or truncated: a box beyond"))));
    EXPECT_THAT(text, testing::Not(HasSubstr("no reason")));
  }
  RasterOptions options;
  options.files = {"/absent/*.tif"};
  EXPECT_THAT(message<DataError>(options), HasSubstr("there is no folder '/absent'"));
  options.files = {};
  EXPECT_THAT(message<ConfigError>(options), HasSubstr("no files"));
}

TEST(RasterSource, ReadsDamagedCopiesRightOrNotAtAll) {
  TRIB_NEEDS_DATA(kLandsat);
  TRIB_NEEDS_DATA("satellite/eurosat_samples/River_11.jpg");
  for (const char* name : {kLandsat, "satellite/eurosat_samples/River_11.jpg",
                           "satellite/geotiff_variants/float_nan.tif"}) {
    std::ifstream stream(test::data_file(name), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    const Image expected = open_raster(options_for(name))->read(0);
    const std::string copy = testing::TempDir() + std::filesystem::path(name).filename().string();
    int rejected = 0;
    for (int tenth = 0; tenth < 10; ++tenth) {
      std::ofstream(copy, std::ios::binary)
          << bytes.substr(0, bytes.size() * static_cast<std::size_t>(tenth) / 10);
      RasterOptions options;
      options.files = {copy};
      try {
        // Overviews may lie behind the pixels: a file cut there is still whole for us.
        const Image image = open_raster(options)->read(0);
        EXPECT_TRUE(same_pixels(image.data_cyx, expected.data_cyx)) << name << " " << tenth;
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), HasSubstr(copy));
        ++rejected;
      }
    }
    EXPECT_GE(rejected, 4) << name;
    std::filesystem::remove(copy);
  }
}

TEST(RasterSource, SurvivesRandomDamage) {
  const char* const name = "satellite/landsat_sentinel/S2A1C_20170703_022_Barbellino_TOA_10.tif";
  TRIB_NEEDS_DATA(name);
  std::ifstream stream(test::data_file(name), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  RasterOptions options;
  options.files = {testing::TempDir() + "damaged.tif"};
  int rejected = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    std::string damaged = bytes;
    // Half of the damage hits the header, the other half any byte.
    const std::size_t reach = seed % 2 == 0 ? 512 : bytes.size();
    for (int n = 0; n < 4; ++n) damaged[random() % reach] = static_cast<char>(random());
    std::ofstream(options.files[0], std::ios::binary) << damaged;
    try {
      const auto source = open_raster(options);
      const Extent extent = source->extent(0);
      // A changed length in the header may ask for any amount of memory.
      if (extent.height * extent.width <= 100000) source->read(0);
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("damaged.tif"));
      ++rejected;
    }
  }
  EXPECT_GT(rejected, 100);
  std::filesystem::remove(options.files[0]);
}

TEST(RasterSource, HoldsTheLockOfTheHdf5FamilyOnlyWhereItMust) {
  const char* const name = "era5/era5_t2m_global_0p25_cds_2019.nc";
  TRIB_NEEDS_DATA(name);
  TRIB_NEEDS_DATA(kLandsat);
  RasterOptions netcdf;
  netcdf.files = {"NETCDF:\"" + test::data_file(name) + "\":t2m"};
  const auto source = open_raster(netcdf);
  std::unique_lock lock(hdf5_family_lock());
  auto blocked = std::async(std::launch::async, [&] { return source->read(0).data_cyx.numel(); });
  auto free = std::async(std::launch::async, [&] {
    return open_raster(options_for(kLandsat))->read(0).data_cyx.numel();
  });
  EXPECT_EQ(free.get(), 6 * 352 * 349);
  EXPECT_EQ(blocked.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  lock.unlock();
  EXPECT_EQ(blocked.get(), 721 * 1440);
}

TEST(InspectRaster, DescribesEnmap) {
  TRIB_NEEDS_DATA(kEnmap);
  const auto report = inspect_raster(test::data_file(kEnmap));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->format, "GeoTIFF");
  ASSERT_EQ(report->variables.size(), 224u);
  EXPECT_EQ(report->variables[0].dtype, "Float32");
  EXPECT_EQ(report->variables[0].shape, "[32, 32]");
  EXPECT_EQ(report->variables[0].chunks, "[32, 32]");
  EXPECT_THAT(report->variables[0].note, AllOf(HasSubstr("nodata -32768"), HasSubstr("418.24 nm"),
                                               HasSubstr("stored * 0.0001")));
  EXPECT_EQ(report->channels.size(), 224u);
  EXPECT_THAT(report->facts,
              testing::Contains(testing::Pair("coordinate system", HasSubstr("EPSG:32633"))));
}

TEST(InspectRaster, KnowsWhatIsNoRaster) {
  const std::string path = testing::TempDir() + "notes.txt";
  std::ofstream(path) << "not a raster";
  EXPECT_FALSE(inspect_raster(path));
  EXPECT_THROW(inspect_raster(path + ".absent"), DataError);
}

}  // namespace
}  // namespace trib::io
