#include "io/sample_data/sample_data.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hdf5.h>

#include "io/cube/cube_source.h"
#include "io/cube/hdf5_handles.h"
#include "io/grid/grid_source.h"
#include "io/raster/raster_source.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// The default sample data, written once for all tests.
class SampleData : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = std::make_unique<test::TempDir>();
    files_ = write_sample_data(dir_->path());
  }
  static void TearDownTestSuite() { dir_.reset(); }

  static std::string path(const std::string& name) { return dir_->file(name); }
  static std::unique_ptr<ImageSource> open_scenes(const std::string& pattern) {
    RasterOptions options;
    options.files = {path(pattern)};
    return open_raster(options);
  }

  static inline std::unique_ptr<test::TempDir> dir_;
  static inline std::vector<std::string> files_;
};

TEST_F(SampleData, IsSmall) {
  EXPECT_EQ(files_.size(), 4 * 2 + 4 + 4u);
  std::uintmax_t bytes = 0;
  for (const std::string& file : files_) bytes += std::filesystem::file_size(file);
  EXPECT_LT(bytes, 40'000'000u);
  EXPECT_GT(bytes, 10'000'000u);
  std::size_t found = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_->path())) {
    if (entry.is_regular_file()) ++found;
  }
  EXPECT_EQ(found, files_.size()) << "files that write_sample_data did not tell of";
}

TEST(SampleDataSeed, DecidesEveryByte) {
  const test::TempDir one, same, other;
  SampleDataOptions options{
      .scenes = 1, .scene_size = 64, .time_steps = 4, .fields = 1, .field_size = 16, .bands = 20};
  const auto files = write_sample_data(one.path(), options);
  const auto same_files = write_sample_data(same.path(), options);
  options.seed += 1;
  const auto other_files = write_sample_data(other.path(), options);
  ASSERT_EQ(files.size(), 2 + 4 + 1u);
  ASSERT_EQ(same_files.size(), files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    EXPECT_EQ(bytes_of(files[i]), bytes_of(same_files[i])) << files[i];
    EXPECT_NE(bytes_of(files[i]), bytes_of(other_files[i])) << files[i];
  }
}

TEST(SampleDataOptions, AreChecked) {
  const test::TempDir dir;
  EXPECT_THROW(write_sample_data(dir.path(), {.scene_size = 1}), ConfigError);
  EXPECT_THROW(write_sample_data(dir.path(), {.time_steps = 3}), ConfigError);
  EXPECT_THROW(write_sample_data(dir.path(), {.fields = -1}), ConfigError);
  std::ofstream(dir.file("taken")) << "a file, no folder";
  EXPECT_THROW(write_sample_data(dir.file("taken")), RuntimeError);
}

TEST_F(SampleData, ScenesLookLikeLand) {
  const auto scenes = open_scenes("satellite/scene_*.tif");
  const auto classes = open_scenes("satellite/classes/scene_*.tif");
  ASSERT_EQ(scenes->size(), 4);
  ASSERT_EQ(classes->size(), 4);
  std::vector<std::string> names;
  for (const Channel& channel : scenes->channels()) names.push_back(channel.name);
  EXPECT_EQ(names, (std::vector<std::string>{"B02", "B03", "B04", "B08", "B11", "B12"}));

  std::map<int, std::vector<double>> ndvi, brightness;
  for (std::int64_t scene = 0; scene < 4; ++scene) {
    const Image image = scenes->read(scene);
    const Image cover = classes->read(scene);
    ASSERT_EQ(image.data_cyx.shape(), (Shape{6, 256, 256}));
    ASSERT_NE(image.provenance.geo, nullptr);
    EXPECT_NE(image.provenance.geo->crs_wkt.find("32633"), std::string::npos);
    const float* const pixels = image.data_cyx.data<float>();
    const float* const labels = cover.data_cyx.data<float>();
    constexpr std::size_t kPixels = 256 * 256;
    double changes = 0, missing = 0;
    for (std::size_t i = 0; i < kPixels; ++i) {
      ASSERT_EQ(std::isnan(pixels[i]), std::isnan(labels[i]));
      if (std::isnan(pixels[i])) {
        ++missing;
        continue;
      }
      for (std::size_t b = 0; b < 6; ++b) {
        ASSERT_GT(pixels[b * kPixels + i], 0);
        ASSERT_LT(pixels[b * kPixels + i], 0.9);
      }
      const double red = pixels[2 * kPixels + i], near = pixels[3 * kPixels + i];
      const int label = static_cast<int>(labels[i]);
      ndvi[label].push_back((near - red) / (near + red));
      brightness[label].push_back(pixels[4 * kPixels + i]);
      if (i % 256 != 255 && labels[i + 1] != labels[i]) ++changes;
    }
    EXPECT_GT(missing, 0.003 * kPixels) << "no slanted border in scene " << scene;
    EXPECT_LT(missing, 0.2 * kPixels);
    EXPECT_LT(changes, 0.15 * kPixels) << "classes are not coherent in scene " << scene;
  }
  ASSERT_EQ(ndvi.size(), 5u) << "water, soil, crop, forest, urban";
  for (const auto& [label, values] : ndvi) EXPECT_GT(values.size(), 4000u) << "class " << label;
  EXPECT_LT(mean(ndvi[1]), 0);
  EXPECT_LT(mean(ndvi[2]), 0.4);
  EXPECT_GT(mean(ndvi[3]), 0.5);
  EXPECT_GT(mean(ndvi[4]), 0.6);
  EXPECT_LT(mean(ndvi[5]), 0.3);
  EXPECT_GT(mean(brightness[2]), mean(brightness[4]));
}

/// All images of the atmosphere, [time, channel, latitude, longitude].
struct Weather {
  explicit Weather(const std::string& files) {
    GridOptions options;
    options.files = {files};
    const auto source = open_grid(options);
    for (const Channel& channel : source->channels()) names.push_back(channel.name);
    grid = *source->grid();
    times = source->times();
    for (std::int64_t i = 0; i < source->size(); ++i) images.push_back(source->read(i).data_cyx);
  }
  std::size_t channel(const std::string& name) const {
    const auto at = std::find(names.begin(), names.end(), name);
    if (at == names.end()) throw DataError("no channel " + name);
    return static_cast<std::size_t>(at - names.begin());
  }
  double value(std::size_t time, std::size_t c, std::size_t row, std::size_t column) const {
    return images[time].data<float>()[(c * 37 + row) * 72 + column];
  }
  std::vector<std::string> names;
  LatLonGrid grid;
  std::vector<double> times;
  std::vector<Tensor> images;
};

TEST_F(SampleData, AtmosphereHasPlausibleRanges) {
  const Weather weather(path("era5/*.nc"));
  ASSERT_EQ(weather.images.size(), 240u);
  ASSERT_EQ(weather.names.size(), 13u);
  EXPECT_EQ(weather.grid.latitudes.size(), 37u);
  EXPECT_EQ(weather.grid.longitudes.back(), 355);
  EXPECT_EQ(weather.times[0], 1514764800);  // 2018-01-01T00:00Z
  for (std::size_t i = 1; i < 240; ++i) EXPECT_EQ(weather.times[i] - weather.times[i - 1], 21600);

  struct Range {
    const char* name;
    double least, most, least_spread;
  };
  for (const Range& range :
       {Range{"z_500", 45'000, 60'500, 2000}, Range{"z_850", 9'000, 17'500, 500},
        Range{"t_500", 210, 285, 5}, Range{"t_850", 225, 315, 8}, Range{"u_500", -60, 90, 5},
        Range{"v_500", -70, 70, 4}, Range{"u_850", -40, 50, 3}, Range{"q_500", 0, 0.012, 1e-4},
        Range{"q_850", 0, 0.025, 1e-3}, Range{"t2m", 225, 330, 8}, Range{"u10", -35, 40, 2},
        Range{"v10", -35, 35, 1.5}}) {
    std::vector<double> values, squares;
    const std::size_t c = weather.channel(range.name);
    for (std::size_t time = 0; time < 240; time += 7) {
      for (std::size_t i = 0; i < 37 * 72; ++i) {
        values.push_back(weather.value(time, c, i / 72, i % 72));
        squares.push_back(values.back() * values.back());
      }
    }
    EXPECT_GE(*std::min_element(values.begin(), values.end()), range.least) << range.name;
    EXPECT_LE(*std::max_element(values.begin(), values.end()), range.most) << range.name;
    const double spread = std::sqrt(mean(squares) - std::pow(mean(values), 2));
    EXPECT_GE(spread, range.least_spread) << range.name;
  }
}

TEST_F(SampleData, WindIsGeostrophic) {
  const Weather weather(path("era5/pl_*.nc"));
  const std::size_t z = weather.channel("z_500"), v = weather.channel("v_500");
  constexpr double kRadians = std::numbers::pi / 180;
  for (const std::size_t row : {6u, 9u, 27u, 30u}) {  // 60 and 45 degrees south and north
    const double latitude = weather.grid.latitudes[row] * kRadians;
    const double coriolis = 2 * 7.292e-5 * std::sin(latitude);
    double error = 0, total = 0;
    for (std::size_t column = 0; column < 72; ++column) {
      const double slope = weather.value(5, z, row, (column + 1) % 72) -
                           weather.value(5, z, row, (column + 71) % 72);
      const double expected = slope / (10 * kRadians * 6.371e6 * std::cos(latitude)) / coriolis;
      error += std::pow(weather.value(5, v, row, column) - expected, 2);
      total += expected * expected;
    }
    EXPECT_LT(error, 0.02 * total) << "latitude " << weather.grid.latitudes[row];
  }
}

TEST_F(SampleData, LandWarmsByDay) {
  const Weather weather(path("era5/sfc_*.nc"));
  const std::size_t t2m = weather.channel("t2m");
  // Mean over 60 days at each of the four hours: the largest range is that of a land point, the
  // smallest away from the poles that of the sea.
  std::vector<double> ranges;
  for (std::size_t column = 0; column < 72; ++column) {
    std::vector<double> by_hour(4, 0.0);
    for (std::size_t time = 0; time < 240; ++time) {
      by_hour[time % 4] += weather.value(time, t2m, 18, column) / 60;
    }
    const auto [least, most] = std::minmax_element(by_hour.begin(), by_hour.end());
    ranges.push_back(*most - *least);
  }
  EXPECT_GT(*std::max_element(ranges.begin(), ranges.end()), 6);
  EXPECT_LT(*std::min_element(ranges.begin(), ranges.end()), 3);
}

TEST_F(SampleData, WeatherCanBeForecastAndPersistenceIsWorse) {
  const Weather weather(path("era5/pl_*.nc"));
  const std::size_t z = weather.channel("z_500");
  constexpr int kWaves = 9;
  using Complex = std::complex<double>;
  // For each parallel and zonal wavenumber one complex number that turns the wave of now into that
  // of 24 hours later, fitted to the first half of the times; a model far simpler than any network.
  double forecast_error = 0, persistence_error = 0, anomaly = 0;
  for (std::size_t row = 4; row <= 32; ++row) {
    for (int k = 1; k < kWaves; ++k) {
      std::vector<Complex> wave(240);
      for (std::size_t time = 0; time < 240; ++time) {
        for (std::size_t column = 0; column < 72; ++column) {
          wave[time] +=
              weather.value(time, z, row, column) *
              std::polar(1.0, -2 * std::numbers::pi * k * static_cast<double>(column) / 72);
        }
      }
      Complex product = 0;
      double power = 0;
      for (std::size_t time = 0; time + 4 < 120; ++time) {
        product += wave[time + 4] * std::conj(wave[time]);
        power += std::norm(wave[time]);
      }
      for (std::size_t time = 120; time + 4 < 240; ++time) {
        forecast_error += std::norm(wave[time + 4] - product / power * wave[time]);
        persistence_error += std::norm(wave[time + 4] - wave[time]);
        anomaly += std::norm(wave[time + 4]);
      }
    }
  }
  const double persistence = std::sqrt(persistence_error / anomaly);
  const double forecast = std::sqrt(forecast_error / anomaly);
  EXPECT_GT(persistence, 0.5) << "persistence must be a poor forecast";
  EXPECT_LT(forecast, 0.6 * persistence) << "the waves must be predictable";
  RecordProperty("persistence", std::to_string(persistence));
  RecordProperty("forecast", std::to_string(forecast));
}

/// The classes of a cube's pixels.
std::vector<std::uint8_t> read_labels(const std::string& path) {
  const Hdf5Session session;
  const Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const Hdf5Handle labels(H5Dopen2(file.id(), "labels", H5P_DEFAULT), H5Dclose);
  std::vector<std::uint8_t> values(64 * 64);
  EXPECT_GE(H5Dread(labels.id(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
            0);
  return values;
}

TEST_F(SampleData, MaizeHasARedEdgeThatFollowsNitrogen) {
  CubeOptions options;
  options.files = {path("hyperspectral/maize_field_*.h5")};
  options.dataset = "reflectance";
  const auto cubes = open_cube(options);
  ASSERT_EQ(cubes->size(), 4);
  std::vector<double> wavelengths;
  for (const Channel& channel : cubes->channels()) wavelengths.push_back(channel.wavelength_nm);
  ASSERT_EQ(wavelengths.size(), 200u);
  EXPECT_EQ(wavelengths.front(), 400);
  EXPECT_EQ(wavelengths.back(), 1000);
  const auto band = [&](double wavelength) {
    return static_cast<std::size_t>(
        std::lower_bound(wavelengths.begin(), wavelengths.end(), wavelength) - wavelengths.begin());
  };

  constexpr std::size_t kPixels = 64 * 64;
  std::map<int, std::vector<double>> ndvi, red_edge;
  for (std::int64_t i = 0; i < 4; ++i) {
    const Image image = cubes->read(i);
    ASSERT_EQ(image.data_cyx.shape(), (Shape{200, 64, 64}));
    const auto labels = read_labels(image.provenance.file);
    for (std::size_t pixel = 0; pixel < kPixels; ++pixel) {
      const float* const spectrum = image.data_cyx.data<float>() + pixel;
      for (std::size_t b = 0; b < 200; ++b) {
        ASSERT_GE(spectrum[b * kPixels], -0.0201);
        ASSERT_LE(spectrum[b * kPixels], 0.8);
      }
      const double red = spectrum[band(670) * kPixels], near = spectrum[band(800) * kPixels];
      ndvi[labels[pixel]].push_back((near - red) / (near + red));
      // Where the spectrum crosses the middle between red and near infrared.
      std::size_t b = band(680);
      while (spectrum[b * kPixels] < (red + near) / 2) ++b;
      red_edge[labels[pixel]].push_back(wavelengths[b]);
    }
  }
  ASSERT_EQ(ndvi.size(), 4u) << "soil and three levels of nitrogen";
  for (const auto& [label, values] : ndvi) EXPECT_GT(values.size(), 500u) << "label " << label;
  EXPECT_LT(mean(ndvi[0]), 0.4);
  for (const int plants : {1, 2, 3}) EXPECT_GT(mean(ndvi[plants]), 0.6);
  EXPECT_GT(mean(red_edge[2]), mean(red_edge[1]) + 3);
  EXPECT_GT(mean(red_edge[3]), mean(red_edge[2]) + 3);
  EXPECT_GT(mean(red_edge[1]), 700);
  EXPECT_LT(mean(red_edge[3]), 740);
}

}  // namespace
}  // namespace trib::io
