// GRIB files written here by GDAL.
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <cpl_string.h>
#include <fmt/format.h>
#include <gdal_priv.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/grid/grid_source.h"
#include "io/raster/gdal_dataset.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A field of edition 2: parameter and level as WMO's tables number them.
struct Field {
  int category, parameter, level_type, level, member, hour;
};

constexpr int kRows = 3, kColumns = 4;

// Write fields of consecutive numbers, each 100 above the one before, on latitudes 10, 0, -10.
void write_grib(const std::string& path, const std::vector<Field>& fields) {
  prepare_gdal();
  GDALDriver* memory = GetGDALDriverManager()->GetDriverByName("MEM");
  const std::unique_ptr<GDALDataset> data(
      memory->Create("", kColumns, kRows, static_cast<int>(fields.size()), GDT_Float32, nullptr));
  std::array<double, 6> transform{-45, 90, 0, 15, 0, -10};
  data->SetGeoTransform(transform.data());
  OGRSpatialReference crs;
  crs.importFromEPSG(4326);
  data->SetSpatialRef(&crs);
  CPLStringList options;
  options.AddString("DATA_ENCODING=IEEE_FLOATING_POINT");
  options.AddString("DISCIPLINE=0");
  options.AddString("PDS_PDTN=1");
  options.AddString(
      "IDS=CENTER=98 SUBCENTER=0 MASTER_TABLE=2 LOCAL_TABLE=0 SIGNF_REF_TIME=1 "
      "REF_TIME=2020-01-01T00:00:00Z PROD_STATUS=0 TYPE=1");
  for (std::size_t i = 0; i < fields.size(); ++i) {
    std::array<float, kRows * kColumns> values;
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = 100.0F * i + k;
    const int band = static_cast<int>(i) + 1;
    ASSERT_EQ(data->GetRasterBand(band)->RasterIO(GF_Write, 0, 0, kColumns, kRows, values.data(),
                                                  kColumns, kRows, GDT_Float32, 0, 0, nullptr),
              CE_None);
    const Field& f = fields[i];
    options.AddString(
        fmt::format("BAND_{}_PDS_TEMPLATE_ASSEMBLED_VALUES={} {} 4 0 0 0 0 1 {} {} 0 {} 255 0 0 3 "
                    "{} 10",
                    band, f.category, f.parameter, f.hour, f.level_type, f.level, f.member)
            .c_str());
  }
  const GdalErrors quiet;
  GDALDriver* grib = GetGDALDriverManager()->GetDriverByName("GRIB");
  GDALClose(grib->CreateCopy(path.c_str(), data.get(), FALSE, options.List(), nullptr, nullptr));
}

constexpr int kIsobaric = 100, kHybrid = 105, kAboveGround = 103;
constexpr std::array<int, 2> kU{2, 2}, kGeopotential{3, 4};

std::vector<std::string> names(const GridSource& source) {
  std::vector<std::string> found;
  for (const Channel& c : source.channels()) found.push_back(c.name);
  return found;
}

std::unique_ptr<GridSource> open(const std::string& path, std::vector<std::string> channels = {}) {
  GridOptions options;
  options.files = {path};
  options.channels = std::move(channels);
  return open_grid(options);
}

std::string error_of(const std::string& path) {
  try {
    open(path);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no DataError";
}

class GribTest : public testing::Test {
 protected:
  void SetUp() override {
    prepare_gdal();
    if (GDALGetDriverByName("GRIB") == nullptr) GTEST_SKIP() << "GDAL has no GRIB driver";
  }
  std::string path() const { return folder_.file("a.grib"); }
  test::TempDir folder_;
};

TEST_F(GribTest, LevelsMembersAndTimesOfEdition2) {
  std::vector<Field> fields;
  for (const int hour : {6, 0}) {
    for (const int member : {2, 1}) {
      for (const int level : {50000, 85000}) {
        fields.push_back({kU[0], kU[1], kIsobaric, level, member, hour});
      }
    }
  }
  fields.push_back({kU[0], kU[1], kAboveGround, 10, 0, 0});
  fields.push_back({kU[0], kU[1], kAboveGround, 10, 0, 6});
  fields.push_back({kGeopotential[0], kGeopotential[1], kHybrid, 137, 0, 0});
  fields.push_back({kGeopotential[0], kGeopotential[1], kHybrid, 137, 0, 6});
  write_grib(path(), fields);
  const auto source = open(path());
  EXPECT_THAT(names(*source), ElementsAre("u_500", "u_850", "u10", "z_l137"));
  EXPECT_EQ(source->channels()[0].units, "m s**-1");
  EXPECT_EQ(source->channels()[3].units, "m**2 s**-2");
  EXPECT_EQ(source->num_members(), 2);
  ASSERT_EQ(source->size(), 4);
  EXPECT_EQ(format_time(source->times()[1]), "2020-01-01T06:00Z");
  EXPECT_THAT(source->grid()->latitudes, ElementsAre(-10, 0, 10));
  EXPECT_THAT(source->grid()->longitudes, ElementsAre(0, 90, 180, 270));
  // Member 1 of six o'clock is the third and fourth field; the first row is the file's last.
  const Image image = source->read(1);
  const float* values = image.data_cyx.data<float>();
  EXPECT_EQ(values[0], 208);
  EXPECT_EQ(values[12], 308);
  EXPECT_EQ(values[24], 908);
  EXPECT_EQ(values[36], 1108);
  EXPECT_EQ(source->read(2).data_cyx.data<float>()[11], 403);
  EXPECT_EQ(source->read(1, Window{1, 2, 2, 2}).data_cyx.data<float>()[2], 202);

  const FileReport report = inspect_file(path());
  EXPECT_EQ(report.format, "GRIB");
  ASSERT_EQ(report.variables.size(), 3U);
  EXPECT_EQ(report.variables[0].shape, "[level 2, time 2, member 2, 3, 4]");
  EXPECT_EQ(report.variables[0].note, "u, m s**-1, levels 500 850 hPa");
  EXPECT_THAT(report.facts, testing::Contains(testing::Pair("ensemble members", "2")));
  EXPECT_EQ(report.channels.size(), 4U);
}

TEST_F(GribTest, FieldsWithTimesOfTheirOwnAreJoined) {
  write_grib(path(), {{kU[0], kU[1], kIsobaric, 50000, 0, 0},
                      {kU[0], kU[1], kIsobaric, 50000, 0, 6},
                      {kGeopotential[0], kGeopotential[1], kIsobaric, 50000, 0, 6}});
  EXPECT_THAT(error_of(path()), HasSubstr("gap: z_500 is missing at 1 of 2 times"));
  EXPECT_EQ(open(path(), {"u_500"})->size(), 2);
  EXPECT_EQ(open(path(), {"z_500"})->size(), 1);
}

TEST_F(GribTest, GridsThatCannotBeReadSayWhatToDo) {
  // Edition 1: an indicator, a product, a grid of 32 bytes, no data, and the end.
  std::string message("GRIB\0\0\x58\1", 8);
  std::string product(28, '\0'), grid(32, '\0'), data(16, '\0');
  product[2] = 28;
  product[7] = '\x80';  // has a grid
  grid[2] = 32;
  data[2] = 12;
  for (const std::size_t step : {23, 25}) {
    grid[step] = grid[step + 1] = '\xff';
    const auto write = [&] {
      std::ofstream(path(), std::ios::binary)
          << message << product << grid << data.substr(0, 16) << "7777";
    };
    write();
    EXPECT_THAT(error_of(path()), HasSubstr("does not give the steps of its grid"));
    grid[5] = 4;  // Gaussian
    write();
    EXPECT_THAT(error_of(path()),
                HasSubstr("cdo -f nc4 setgridtype,regular '" + path() + "' OUT.nc"));
    grid = std::string(32, '\0');
    grid[2] = 32;
  }
}

TEST_F(GribTest, DamagedMessagesAreNamed) {
  write_grib(path(),
             {{kU[0], kU[1], kIsobaric, 50000, 0, 0}, {kU[0], kU[1], kIsobaric, 50000, 0, 6}});
  const auto size = std::filesystem::file_size(path());
  {
    std::ofstream file(path(), std::ios::binary | std::ios::app);
    file << "rubbish after the end";
  }
  EXPECT_EQ(open(path())->size(), 2);
  std::filesystem::resize_file(path(), size - 1);
  EXPECT_THAT(error_of(path()), HasSubstr("GRIB message 2 is truncated"));
  std::filesystem::resize_file(path(), 6);
  EXPECT_THAT(error_of(path()), HasSubstr("truncated"));
  std::filesystem::remove(path());
  write_grib(path(), {{kU[0], kU[1], kIsobaric, 50000, 0, 0}});
  {
    std::fstream file(path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path())) - 2);
    file << "!!";
  }
  EXPECT_THAT(error_of(path()), HasSubstr("it is damaged"));
}

}  // namespace
}  // namespace trib::io
