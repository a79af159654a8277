// Expected values are from ncdump (raw numbers, unpacked here by hand) and cdo (means of fields).
#include "io/grid/grid_source.h"

#include <cmath>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/grid/cf_time.h"
#include "ops/base/error.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<GridSource> open_real(const std::string& file,
                                      std::vector<std::string> channels = {},
                                      const std::string& times = "") {
  GridOptions options;
  options.files = {test::data_file("era5/" + file)};
  options.channels = std::move(channels);
  if (!times.empty()) options.times = {times};
  return open_grid(options);
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

// Mean of the values of a channel that are not missing.
double mean(const Image& image, std::int64_t c) {
  const std::int64_t plane = image.data_cyx.dim(1) * image.data_cyx.dim(2);
  const float* values = image.data_cyx.data<float>() + c * plane;
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < plane; ++i) {
    if (std::isnan(values[i])) continue;
    sum += values[i];
    ++count;
  }
  return sum / static_cast<double>(count);
}

bool same(float a, float b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const DataError& e) {
    return e.what();
  }
  return "no DataError";
}

TEST(GridSource, GlobalPackedField) {
  TRIB_NEEDS_DATA("era5/era5_t2m_global_0p25_cds_2019.nc");
  const auto source = open_real("era5_t2m_global_0p25_cds_2019.nc");
  EXPECT_THAT(names(*source), ElementsAre("t2m"));
  EXPECT_EQ(source->channels()[0].units, "K");
  EXPECT_TRUE(std::isnan(source->channels()[0].level_hpa));
  ASSERT_EQ(source->size(), 1);
  EXPECT_EQ(source->extent(0), (Extent{721, 1440}));
  EXPECT_EQ(format_time(source->times()[0]), "2019-01-01T12:00Z");
  const auto grid = source->grid();
  EXPECT_EQ(grid->latitudes.front(), -90);
  EXPECT_EQ(grid->latitudes.back(), 90);
  EXPECT_EQ(grid->longitudes[1], 0.25);

  const Image image = source->read(0);
  // t2m(0, 360, 720) and t2m(0, 720, 1439) of a file that runs from north to south
  EXPECT_NEAR(at(image, 0, 360, 720), 22365 * 0.00130605715822563 + 272.503817796616, 1e-4);
  EXPECT_NEAR(at(image, 0, 0, 1439), -20819 * 0.00130605715822563 + 272.503817796616, 1e-4);
  EXPECT_NEAR(at(image, 0, 720, 5), -16212 * 0.00130605715822563 + 272.503817796616, 1e-4);
  EXPECT_NEAR(mean(image, 0), 277.8316, 5e-4);
  EXPECT_EQ(source->bytes_decoded(), 721 * 1440 * 2);
  EXPECT_EQ(image.provenance.time, source->times()[0]);
}

TEST(GridSource, PackedFieldsWithMissingValues) {
  TRIB_NEEDS_DATA("era5/era5land_monthly_iberia_cds_packed.nc");
  const auto source = open_real("era5land_monthly_iberia_cds_packed.nc", {"t2m", "u10", "d2m"});
  EXPECT_THAT(names(*source), ElementsAre("t2m", "u10", "d2m"));
  EXPECT_EQ(source->size(), 24);
  const Image first = source->read(0);
  EXPECT_NEAR(mean(first, 1), 0.1392232, 2e-5);
  EXPECT_NEAR(mean(first, 2), 274.7371, 5e-4);
  EXPECT_NEAR(mean(first, 0), 278.2207, 5e-4);
  EXPECT_TRUE(std::isnan(at(first, 0, 90, 0)));  // t2m(0, 0, 0): sea
  const Image sixth = source->read(5);
  EXPECT_NEAR(at(sixth, 0, 45, 70), 20376 * 0.000552400156457434 + 284.990080245234, 1e-4);
}

TEST(GridSource, NegativeScaleAndClimatologyWithoutTimes) {
  TRIB_NEEDS_DATA("era5/eraint_uvz_global_0p75.nc");
  const auto source = open_real("eraint_uvz_global_0p75.nc");
  EXPECT_THAT(names(*source), ElementsAre("z_200", "z_500", "z_850", "u_200", "u_500", "u_850",
                                          "v_200", "v_500", "v_850"));
  ASSERT_EQ(source->size(), 2);
  EXPECT_TRUE(std::isnan(source->times()[1]));
  EXPECT_EQ(source->channels()[1].level_hpa, 500);
  EXPECT_EQ(source->grid()->longitudes.front(), -180);
  // _FillValue is NaN on shorts: nothing is missing
  const Image january = source->read(0), july = source->read(1);
  EXPECT_NEAR(at(january, 0, 240, 0), -23195 * -1.7250274674968 + 66825.5, 2e-2);
  EXPECT_NEAR(at(july, 1, 120, 240), 5408 * -1.7250274674968 + 66825.5, 2e-2);
  EXPECT_NEAR(at(july, 5, 120, 240), 17386 * -0.00157270493804553 + 26.96875, 1e-5);
  for (std::int64_t i = 0; i < july.data_cyx.numel(); ++i) {
    ASSERT_FALSE(std::isnan(july.data_cyx.data<float>()[i])) << i;
  }
}

TEST(GridSource, TransposedLongNamedLevels) {
  TRIB_NEEDS_DATA("era5/era5_tl31_37lev_19590102T00.nc");
  const auto source = open_real("era5_tl31_37lev_19590102T00.nc",
                                {"temperature_100", "t_1000", "sst", "q@850,1000"});
  EXPECT_THAT(names(*source), ElementsAre("t_100", "t_1000", "sst", "q_850", "q_1000"));
  ASSERT_EQ(source->size(), 1);
  EXPECT_EQ(source->extent(0), (Extent{32, 64}));
  EXPECT_EQ(format_time(source->times()[0]), "1959-01-02T00:00Z");
  const Image image = source->read(0);
  EXPECT_FLOAT_EQ(at(image, 0, 3, 5), 232.18927F);     // temperature(10, 5, 3)
  EXPECT_FLOAT_EQ(at(image, 1, 31, 63), 240.647522F);  // temperature(36, 63, 31)
  EXPECT_FLOAT_EQ(at(image, 2, 3, 5), 271.510925F);    // sea_surface_temperature(5, 3)
  EXPECT_EQ(source->bytes_decoded(), 5 * 32 * 64 * 4);

  EXPECT_EQ(open_real("era5_tl31_37lev_19590102T00.nc")->channels().size(), 7 * 37 + 2U);
}

TEST(GridSource, VersionsAreMerged) {
  TRIB_NEEDS_DATA("era5/era5_monthly_wind100_expver.nc");
  const auto source = open_real("era5_monthly_wind100_expver.nc");
  ASSERT_EQ(source->size(), 514);
  const Image first = source->read(0), last = source->read(513);
  EXPECT_NEAR(mean(first, 0), 0.2975607, 1e-5);
  EXPECT_NEAR(mean(first, 1), -2.425938, 1e-5);
  EXPECT_NEAR(at(first, 0, 4, 10), -4733 * 0.00026433057081999 + 0.995424189237295, 1e-5);
  EXPECT_NEAR(at(last, 0, 4, 10), -4536 * 0.00026433057081999 + 0.995424189237295, 1e-5);
  EXPECT_EQ(format_time(source->times()[513]), "2021-10-01T00:00Z");
}

TEST(GridSource, NewStorePressureLevels) {
  TRIB_NEEDS_DATA("era5/era5_pl_zTuv_8lev_newcds.nc");
  const auto source =
      open_real("era5_pl_zTuv_8lev_newcds.nc", {"z_500", "temperature_9*", "*_975", "u@925,500"});
  EXPECT_THAT(names(*source),
              ElementsAre("z_500", "t_975", "t_925", "z_975", "u_975", "v_975", "u_925", "u_500"));
  EXPECT_EQ(source->size(), 270);
  EXPECT_EQ(format_time(source->times()[0]), "2016-05-28T07:00Z");
  EXPECT_FLOAT_EQ(at(source->read(100), 0, 6, 3), 56144.4219F);  // z(100, 7, 2, 3)
  EXPECT_FLOAT_EQ(at(source->read(269), 1, 0, 8), 300.547607F);  // t(269, 0, 8, 8)
  EXPECT_NEAR(mean(source->read(0), 3), 2835.424, 2e-3);
}

TEST(GridSource, Members) {
  TRIB_NEEDS_DATA("era5/era5_eda_zt_500_850_3deg_10mem_4times.nc");
  const auto source = open_real("era5_eda_zt_500_850_3deg_10mem_4times.nc", {"z_850", "t_500"});
  EXPECT_EQ(source->size(), 40);
  EXPECT_EQ(source->num_members(), 10);
  EXPECT_EQ(source->times()[30], source->times()[2]);
  EXPECT_FLOAT_EQ(at(source->read(7 * 4 + 2), 0, 30, 60), 14467);  // z(7, 2, 1, 30, 60)
  EXPECT_FLOAT_EQ(at(source->read(3), 1, 0, 0), 240.46582F);       // t(0, 3, 0, 60, 0)
}

TEST(GridSource, OtherCentres) {
  TRIB_NEEDS_DATA("era5/noaa_ersst_mnmean_2010_2020.nc");
  const auto sst = open_real("noaa_ersst_mnmean_2010_2020.nc");
  EXPECT_EQ(format_time(sst->times()[0]), "2010-01-01T00:00Z");
  EXPECT_FLOAT_EQ(at(sst->read(127), 0, 44, 90), 28.6094742F);
  EXPECT_NEAR(mean(sst->read(0), 0), 13.90732, 2e-4);
  const auto slp = open_real("ncep_ncar_slp_monthly_npac_1948_2025.nc");
  EXPECT_EQ(slp->size(), 930);
  EXPECT_EQ(slp->grid()->latitudes.front(), 20);
  EXPECT_FLOAT_EQ(at(slp->read(929), 0, 20, 52), 1014.83331F);
  EXPECT_NEAR(mean(slp->read(0), 0), 1014.667, 2e-3);
  const auto air = open_real("ncep_air_sig995_ltm_2p5.nc", {"air"});
  EXPECT_FLOAT_EQ(at(air->read(11), 0, 36, 72), 27.3713379F);
  EXPECT_NEAR(mean(air->read(0), 0), 3.546352, 1e-4);
  const auto constants = open_real("weatherbench_constants_5.625deg.nc", {"orography", "lsm"});
  EXPECT_EQ(constants->size(), 1);
  EXPECT_FLOAT_EQ(at(constants->read(0), 0, 20, 15), 77.7498932F);
  EXPECT_FLOAT_EQ(at(constants->read(0), 1, 20, 15), 0.989394605F);
}

TEST(GridSource, TimesAreChosenByDateAndStride) {
  TRIB_NEEDS_DATA("era5/era5_t2m_uk_hourly_201903.nc");
  EXPECT_EQ(open_real("era5_t2m_uk_hourly_201903.nc")->size(), 744);
  GridOptions options;
  options.files = {test::data_file("era5/era5_t2m_uk_hourly_201903.nc")};
  options.times = {"2019-03-10..2019-03-31"};
  options.time_stride = 6;
  const auto source = open_grid(options);
  ASSERT_EQ(source->size(), 22 * 4);
  EXPECT_EQ(format_time(source->times()[1]), "2019-03-10T06:00Z");
  const auto all = open_real("era5_t2m_uk_hourly_201903.nc");
  EXPECT_EQ(at(source->read(1), 0, 5, 6), at(all->read(9 * 24 + 6), 0, 5, 6));
  EXPECT_FLOAT_EQ(at(all->read(743), 0, 22, 20), 280.355469F);  // t2m(743, 10, 20)
  EXPECT_NEAR(mean(all->read(0), 0), 280.8756, 5e-4);
  EXPECT_THAT(error_of([] { open_real("era5_t2m_uk_hourly_201903.nc", {}, "2020"); }),
              HasSubstr("there are 744 from 2019-03-01T00:00Z to 2019-03-31T23:00Z"));
}

// Windows and channel subsets are the same numbers as the whole.
TEST(GridSource, PartsEqualTheWhole) {
  TRIB_NEEDS_DATA("era5/era5_tl31_37lev_19590102T00.nc");
  for (const char* file :
       {"era5_tl31_37lev_19590102T00.nc", "era5_pl_zTuv_8lev_newcds.nc",
        "era5land_monthly_iberia_cds_packed.nc", "era5_monthly_wind100_expver.nc",
        "era5_wind10m_bengal_newcds_hourly.nc", "eraint_uvz_global_0p75.nc"}) {
    const auto whole = open_real(file);
    const std::int64_t item = whole->size() / 2;
    const Image full = whole->read(item);
    const auto num_channels = static_cast<std::int64_t>(whole->channels().size());
    const Extent e = whole->extent(item);
    const Window w{e.height / 4, e.width / 3, e.height / 2, e.width / 4};
    // Last and first channel, the other way round.
    const auto part = open_real(file, {whole->channels().back().name, whole->channels()[0].name});
    const Image window = part->read(item, w);
    EXPECT_EQ(window.provenance.window, w);
    ASSERT_EQ(window.data_cyx.shape(), (Shape{2, w.height, w.width})) << file;
    for (std::int64_t c = 0; c < 2; ++c) {
      for (std::int64_t y = 0; y < w.height; ++y) {
        for (std::int64_t x = 0; x < w.width; ++x) {
          ASSERT_TRUE(
              same(at(window, c, y, x), at(full, c == 0 ? num_channels - 1 : 0, w.y + y, w.x + x)))
              << file << " " << c << " " << y << " " << x;
        }
      }
    }
    EXPECT_LT(part->bytes_decoded(), whole->bytes_decoded()) << file;
    EXPECT_THROW(part->read(item, Window{0, 0, e.height + 1, 1}), DataError);
  }
}

TEST(GridSource, FourThreadsReadTheSame) {
  TRIB_NEEDS_DATA("era5/era5_wind10m_bengal_newcds_hourly.nc");
  GridOptions options;
  options.files = {test::data_file("era5/era5_wind10m_bengal_newcds_hourly.nc")};
  const auto source = open_grid(options);
  EXPECT_FLOAT_EQ(at(source->read(29), 0, 0, 72), -1.12185669F);  // u10(29, 60, 72)
  EXPECT_NEAR(mean(source->read(0), 0), 0.4289996, 1e-5);
  EXPECT_NEAR(mean(source->read(0), 1), 1.068655, 1e-5);
  std::vector<double> expected;
  for (std::int64_t i = 0; i < source->size(); ++i) expected.push_back(mean(source->read(i), 1));
  std::vector<int> wrong(4, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::int64_t i = 0; i < source->size(); ++i) {
          const std::int64_t item = (i * 7 + static_cast<std::int64_t>(t)) % source->size();
          if (mean(source->read(item), 1) != expected[static_cast<std::size_t>(item)]) ++wrong[t];
        }
      });
    }
  }
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

// HDF5 prints its errors in each thread that has not been told otherwise, and libnetcdf looks for
// attributes that are not there.
TEST(GridSource, ThreadsReadWithoutAWord) {
  TRIB_NEEDS_DATA("era5/era5_t2m_uk_hourly_201903.nc");
  const auto source = open_real("era5_t2m_uk_hourly_201903.nc");
  testing::internal::CaptureStderr();
  std::jthread([&] { source->read(3); }).join();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(GridSource, DamagedFilesAreNamed) {
  TRIB_NEEDS_DATA("era5/truncated_cds_classic.nc");
  EXPECT_THAT(error_of([] { open_real("truncated_cds_classic.nc"); }),
              testing::AllOf(HasSubstr("truncated_cds_classic.nc: truncated: 900000 bytes"),
                             HasSubstr("1850252")));
  EXPECT_THAT(
      error_of([] { open_real("era5_cds_zip_misnamed.nc"); }),
      HasSubstr("unpack it with: unzip '" + test::data_file("era5/era5_cds_zip_misnamed.nc") +
                "' -d '" + test::data_file("era5/era5_cds_zip_misnamed") + "'"));
}

// What was converted from GRIB is what is read from it, but for the digits the conversion kept: a
// tenth of a m2 s-2 and a thousandth of a K.
TEST(GridSource, GribHoldsTheSameFields) {
  TRIB_NEEDS_DATA("era5/era5_eda_levels_members.grib");
  const std::vector<std::string> channels{"z_500", "z_850", "t_500", "t_850"};
  const auto grib = open_real("era5_eda_levels_members.grib", channels);
  const auto converted = open_real("era5_eda_zt_500_850_3deg_10mem_4times.nc", channels);
  EXPECT_EQ(grib->times(), converted->times());
  EXPECT_EQ(grib->num_members(), 10);
  EXPECT_EQ(grib->grid()->longitudes, converted->grid()->longitudes);
  EXPECT_EQ(grib->grid()->latitudes, converted->grid()->latitudes);
  for (std::size_t c = 0; c < channels.size(); ++c) {
    EXPECT_EQ(grib->channels()[c].level_hpa, converted->channels()[c].level_hpa);
    EXPECT_EQ(grib->channels()[c].units, converted->channels()[c].units);
  }
  const Window window{10, 100, 20, 15};
  for (std::int64_t item = 0; item < grib->size(); ++item) {
    const Image a = grib->read(item), b = converted->read(item), part = grib->read(item, window);
    EXPECT_EQ(a.provenance.time, b.provenance.time);
    const std::int64_t plane = 61 * 120;
    for (std::int64_t i = 0; i < a.data_cyx.numel(); ++i) {
      ASSERT_NEAR(a.data_cyx.data<float>()[i], b.data_cyx.data<float>()[i],
                  i / plane < 2 ? 0.07 : 0.0006)
          << item << " " << i;
    }
    ASSERT_EQ(at(part, 3, 19, 14), at(a, 3, 29, 114));
  }
  const auto centred = [&] {
    GridOptions options;
    options.files = {test::data_file("era5/era5_eda_levels_members.grib")};
    options.channels = {"t_850"};
    options.longitudes = LongitudeRange::centred;
    return open_grid(options);
  }();
  EXPECT_EQ(centred->grid()->longitudes.front(), -180);
  EXPECT_EQ(at(centred->read(7), 0, 5, 0), at(grib->read(7), 3, 5, 60));
  EXPECT_EQ(at(centred->read(7), 0, 5, 119), at(grib->read(7), 3, 5, 59));
}

// Constants of another archive, with their own order of variables, beside fields regridded to their
// grid; and a series whose files count longitudes otherwise than the constants.
TEST(GridSource, ConstantsOfAnotherArchive) {
  TRIB_NEEDS_DATA("era5/weatherbench_constants_5.625deg.nc");
  GridOptions options;
  options.files = {test::data_file("era5/reference_regrid_cdo/t2m_5.625deg_remapbil.nc")};
  options.static_files = {test::data_file("era5/weatherbench_constants_5.625deg.nc")};
  options.channels = {"lsm", "t2m", "orography"};
  const auto source = open_grid(options);
  ASSERT_EQ(source->size(), 1);
  const Image image = source->read(0);
  EXPECT_FLOAT_EQ(at(image, 2, 20, 15), 77.7498932F);
  EXPECT_FLOAT_EQ(at(image, 0, 20, 15), 0.989394605F);
  EXPECT_NEAR(mean(image, 1), 278, 2);
  options.longitudes = LongitudeRange::centred;
  const Image turned = open_grid(options)->read(0);
  EXPECT_EQ(at(turned, 0, 20, 32 + 15), at(image, 0, 20, 15));
  EXPECT_EQ(at(turned, 1, 20, 0), at(image, 1, 20, 32));
}

TEST(GridSource, RealSeriesTellTheirGaps) {
  TRIB_NEEDS_DATA("era5/era5_pl_zTuv_8lev_newcds.nc");
  EXPECT_THAT(open_real("era5_pl_zTuv_8lev_newcds.nc")->gaps(),
              HasSubstr("series with one every 1 h are missing in 29 gaps: 2016-05-28T15:00Z to "));
  for (const char* regular : {"era5_t2m_uk_hourly_201903.nc", "era5_monthly_wind100_expver.nc",
                              "ncep_ncar_slp_monthly_npac_1948_2025.nc",
                              "noaa_ersst_mnmean_2010_2020.nc", "ncep_air_sig995_ltm_2p5.nc"}) {
    EXPECT_EQ(open_real(regular, {"*"})->gaps(), "") << regular;
  }
}

TEST(GridSource, UnknownChannelsListWhatThereIs) {
  TRIB_NEEDS_DATA("era5/era5_pl_zTuv_8lev_newcds.nc");
  for (const std::string item : {"q_500", "z_850", "z@500,850", "*_850", "t2m"}) {
    try {
      open_real("era5_pl_zTuv_8lev_newcds.nc", {item});
      FAIL() << item;
    } catch (const ConfigError& e) {
      EXPECT_THAT(e.what(), HasSubstr("no channel fits \"" + item + "\"")) << item;
      EXPECT_THAT(e.what(), HasSubstr("z_975, z_925")) << item;
    }
  }
}

}  // namespace
}  // namespace trib::io
