#include "io/inspect.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/io/hdf5_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using testing::HasSubstr;

std::string fact(const FileReport& report, const std::string& name) {
  for (const auto& [key, value] : report.facts) {
    if (key == name) return value;
  }
  return "no fact " + name;
}

FileReport::Variable variable(const FileReport& report, const std::string& name) {
  for (const FileReport::Variable& v : report.variables) {
    if (v.name == name) return v;
  }
  ADD_FAILURE() << "no variable " << name;
  return {};
}

TEST(Inspect, NetcdfTellsChunksAndReadAmplification) {
  TRIB_NEEDS_DATA("era5/era5_t2m_uk_hourly_201903.nc");
  const FileReport report = inspect_file(test::data_file("era5/era5_t2m_uk_hourly_201903.nc"));
  EXPECT_EQ(report.format, "NetCDF-4");
  const auto t2m = variable(report, "t2m");
  EXPECT_EQ(t2m.dtype, "f32");
  EXPECT_EQ(t2m.shape, "[time 744, latitude 33, longitude 49]");
  EXPECT_EQ(t2m.chunks, "[744, 33, 49]");
  EXPECT_EQ(t2m.filters, "shuffle, deflate 6");
  EXPECT_EQ(fact(report, "times"), "744 from 2019-03-01T00:00Z to 2019-03-31T23:00Z, every 1 h");
  // All times lie in one chunk.
  EXPECT_THAT(fact(report, "read amplification of one image"), HasSubstr("744 (4.81 MB"));
  EXPECT_EQ(fact(report, "one time of t2m"),
            "744 (4.81 MB decoded for 6.47 kB), decoded by all I/O threads at once");
  EXPECT_THAT(fact(report, "advice"),
              testing::AllOf(HasSubstr("order: grouped each chunk serves 744 samples"),
                             HasSubstr("cache >= 4.81 MB")));
  EXPECT_THAT(fact(report, "latitudes"), HasSubstr("stored descending"));
  ASSERT_EQ(report.channels.size(), 1U);
}

TEST(Inspect, ClassicNetcdfTellsPackingAndLevels) {
  TRIB_NEEDS_DATA("era5/eraint_uvz_global_0p75.nc");
  const FileReport report = inspect_file(test::data_file("era5/eraint_uvz_global_0p75.nc"));
  EXPECT_EQ(report.format, "NetCDF classic, 64-bit offset");
  EXPECT_THAT(variable(report, "z").note,
              testing::AllOf(HasSubstr("levels 200 500 850 hPa"),
                             HasSubstr("value = stored * -1.72503 + 66825.5")));
  EXPECT_EQ(variable(report, "z").chunks, "");
  EXPECT_EQ(fact(report, "times"), "climatology of 2");
  EXPECT_EQ(report.channels.size(), 9U);
}

TEST(Inspect, CubesTellWavelengthsAndChunks) {
  TRIB_NEEDS_DATA("hyperspectral/jasper_ridge_aviris_198band.h5");
  const FileReport report =
      inspect_file(test::data_file("hyperspectral/jasper_ridge_aviris_198band.h5"));
  EXPECT_EQ(report.format, "HDF5");
  EXPECT_EQ(variable(report, "/reflectance").chunks, "[13, 25, 50]");
  EXPECT_EQ(variable(report, "/reflectance").filters, "shuffle, deflate 6");
  EXPECT_EQ(fact(report, "cube"), "/reflectance: 100 rows x 100 columns x 198 channels");
  EXPECT_THAT(fact(report, "wavelengths"), HasSubstr("394.936 to 2445.72 nm"));
  // 8 x 13 rows, 4 x 25 columns and 4 x 50 channels for 100 x 100 x 198.
  EXPECT_THAT(fact(report, "read amplification of the whole"),
              HasSubstr(fmt::format("{:.3g} (", 104.0 * 200 / (100.0 * 198))));
  EXPECT_EQ(report.channels.size(), 198U);
}

TEST(Inspect, PredictsWhatWindowsCost) {
  TRIB_NEEDS_DATA("hyperspectral/jasper_ridge_aviris_198band.h5");
  // Chunks of 13 x 25 pixels and 50 of 198 channels; windows of two chunks' height and width touch
  // 25/13 + 1 and 49/25 + 1 of them, averaged over all places.
  const FileReport cube =
      inspect_file(test::data_file("hyperspectral/jasper_ridge_aviris_198band.h5"), {26, 50});
  const double pixels = (25.0 / 13 + 1) * 13 * (49.0 / 25 + 1) * 25 / (26 * 50);
  EXPECT_THAT(fact(cube, "26x50 windows of all channels"),
              testing::StartsWith(fmt::format("{:.3g} (", pixels * 200 / 198)));
  EXPECT_THAT(fact(cube, "26x50 windows of one channel"),
              testing::StartsWith(fmt::format("{:.3g} (", pixels * 50)));
  EXPECT_THAT(fact(cube, "26x50 windows of one channel"), HasSubstr("by all I/O threads"));
  EXPECT_THAT(fact(cube, "advice"), HasSubstr("order: grouped"));

  const FileReport raster =
      inspect_file(test::data_file("satellite/geotiff_variants/RGB.byte.tif"), {64, 64});
  EXPECT_THAT(fact(raster, "64x64 windows of all channels"), HasSubstr("decoded for 12.3 kB"));
}

TEST(Inspect, TellsWhatOneThreadMustDecode) {
  // Numbers of another byte order are left to libhdf5.
  const test::TempDir folder;
  const std::string path = folder.file("cube.h5");
  {
    test::Hdf5Writer writer(path);
    writer.counted("cube", H5T_IEEE_F32BE, {8, 8, 3}, {4, 4, 3});
    writer.counted("wavelength", H5T_NATIVE_DOUBLE, {3});
  }
  const FileReport report = inspect_file(path, {4, 4});
  EXPECT_THAT(fact(report, "4x4 windows of all channels"), HasSubstr("one thread at a time"));
}

TEST(Inspect, EveryRealFileHasAReport) {
  TRIB_NEEDS_DATA("era5");
  int num_reports = 0;
  for (const char* folder : {"era5", "hyperspectral"}) {
    for (const auto& entry : std::filesystem::directory_iterator(test::data_file(folder))) {
      const std::string extension = entry.path().extension();
      const bool truncated = entry.path().filename().string().starts_with("truncated");
      if ((extension != ".nc" && extension != ".h5") || truncated) continue;
      const FileReport report = inspect_file(entry.path());
      const bool is_zip = report.format == "ZIP archive";
      EXPECT_EQ(report.channels.empty(), is_zip) << entry.path();
      ++num_reports;
    }
  }
  EXPECT_GE(num_reports, 18);
}

TEST(Inspect, AHeaderOfEnviStandsForItsData) {
  TRIB_NEEDS_DATA("hyperspectral/maize_kernel_envi/dark_reference_crop.hdr");
  const std::string stem = test::data_file("hyperspectral/maize_kernel_envi/dark_reference_crop");
  EXPECT_EQ(inspect_file(stem + ".hdr").channels.size(), 580U);
  EXPECT_EQ(inspect_file(stem + ".raw").channels.size(), 580U);
}

TEST(Inspect, ArchivesRastersAndTheRest) {
  TRIB_NEEDS_DATA("era5/era5_cds_zip_misnamed.nc");
  const FileReport zip = inspect_file(test::data_file("era5/era5_cds_zip_misnamed.nc"));
  EXPECT_EQ(zip.format, "ZIP archive");
  EXPECT_EQ(fact(zip, "files"), "2 .nc");
  const FileReport scenes = inspect_file(test::data_file("satellite/eurosat_rgb_3000.zip"));
  EXPECT_EQ(fact(scenes, "files"), "3000 .jpg");
  EXPECT_EQ(inspect_file(fact(scenes, "read as")).channels.size(), 3U);
  EXPECT_EQ(
      inspect_file(test::data_file("satellite/geotiff_variants/RGB.byte.tif")).channels.size(), 3U);
  EXPECT_THROW(inspect_file(test::data_file("era5/truncated_cds_classic.nc")), DataError);
  EXPECT_THROW(inspect_file("/nowhere/file.nc"), DataError);

  const std::string path = testing::TempDir() + "inspect_text.txt";
  std::ofstream(path) << "just words";
  EXPECT_THROW(inspect_file(path), DataError);
  std::ofstream(path, std::ios::trunc).close();
  EXPECT_THROW(inspect_file(path), DataError);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace trib::io
