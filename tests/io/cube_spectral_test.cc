// Means of bands: the plan of which and how, and reading by it, against sums written out.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/cube/cube_source.h"
#include "io/cube/spectral_plan.h"
#include "ops/base/error.h"
#include "tests/io/hdf5_writer.h"

namespace trib::io {
namespace {

using test::Hdf5Writer;
using testing::AllOf;
using testing::ElementsAre;
using testing::FloatEq;
using testing::FloatNear;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class Expected>
std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Expected& e) {
    return e.what();
  }
  return "not the expected error";
}

// Bands at 500, 510, ... nm.
std::vector<Channel> bands(std::size_t count) {
  std::vector<Channel> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i].wavelength_nm = 500 + 10 * static_cast<double>(i);
    out[i].name = std::to_string(500 + 10 * i) + ".0nm";
    out[i].fwhm_nm = 8;
  }
  return out;
}

std::vector<std::int64_t> all(std::int64_t count) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), std::int64_t{0});
  return out;
}

TEST(SpectralPlan, BinsOfNeighbours) {
  std::vector<Channel> b = bands(11);
  b[1].bad = true;
  b[5].bad = b[6].bad = b[7].bad = true;
  const auto plan = bin_bands(b, all(11), 4, "f");
  // 0-3 without 1; of 4-7 a single band remains, too few; 8-10 are three of four.
  ASSERT_EQ(plan.size(), 2U);
  EXPECT_THAT(plan[0].bands, ElementsAre(0, 2, 3));
  EXPECT_THAT(plan[0].weights, testing::Each(FloatEq(1 / 3.0F)));
  EXPECT_NEAR(plan[0].channel.wavelength_nm, (500 + 520 + 530) / 3.0, 1e-9);
  EXPECT_EQ(plan[0].channel.name, "516.7nm");
  EXPECT_EQ(plan[0].channel.fwhm_nm, 38);
  EXPECT_THAT(plan[1].bands, ElementsAre(8, 9, 10));
  // A gap in the selection begins anew; a single band at the end of a bin of two is half of it.
  const auto gaps = bin_bands(bands(11), {0, 1, 2, 7, 8, 9, 10}, 2, "f");
  ASSERT_EQ(gaps.size(), 4U);
  EXPECT_THAT(gaps[1].bands, ElementsAre(2));
  EXPECT_THAT(gaps[2].bands, ElementsAre(7, 8));
  std::vector<Channel> unknown(4);
  for (Channel& c : unknown) c.name = "B0" + std::to_string(&c - unknown.data() + 1);
  EXPECT_EQ(bin_bands(unknown, all(4), 2, "f")[1].channel.name, "B03-B04");
}

TEST(SpectralPlan, GaussianResponses) {
  std::vector<Channel> b = bands(20);
  b[4].bad = true;
  const std::vector<SpectralTarget> targets{{543, 12, ""}, {600, 25, "wide"}};
  const auto plan = resample_bands(b, all(20), targets, "f");
  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0].channel.name, "543.0nm");
  EXPECT_EQ(plan[1].channel.name, "wide");
  EXPECT_EQ(plan[1].channel.fwhm_nm, 25);
  for (std::size_t t = 0; t < targets.size(); ++t) {
    double sum = 0;
    std::vector<double> expected(20, 0);
    for (std::size_t i = 0; i < 20; ++i) {
      const double sigma = targets[t].fwhm_nm / 2.354820045;
      const double d = (b[i].wavelength_nm - targets[t].centre_nm) / sigma;
      if (!b[i].bad) sum += expected[i] = std::exp(-d * d / 2);
    }
    std::vector<double> found(20, 0);
    for (std::size_t k = 0; k < plan[t].bands.size(); ++k) {
      found[static_cast<std::size_t>(plan[t].bands[k])] = plan[t].weights[k];
    }
    // Beyond two widths the response is cut off.
    for (std::size_t i = 0; i < 20; ++i) EXPECT_NEAR(found[i], expected[i] / sum, 3e-5) << t << i;
  }
  EXPECT_THAT(error_of<ConfigError>([&] {
                resample_bands(b, all(3), {{560, 12, ""}}, "f.h5");
              }),
              HasSubstr("f.h5: no usable band lies within 12nm (one width) of the centre 560nm; "
                        "the nearest is 520.0nm"));
}

TEST(SpectralPlan, Targets) {
  const auto spaced = spectral_targets({"450nm", "0.48um", "470nm"}, {});
  EXPECT_EQ(spaced[0].fwhm_nm, 20);
  EXPECT_EQ(spaced[1].fwhm_nm, 10);
  EXPECT_EQ(spaced[2].fwhm_nm, 15);
  EXPECT_EQ(spectral_targets({"450nm", "480nm"}, {"7nm"})[1].fwhm_nm, 7);
  EXPECT_EQ(spectral_targets({"450nm", "480nm"}, {"7nm", "8nm"})[1].fwhm_nm, 8);
  const auto wrong = [](std::vector<std::string> centres, std::vector<std::string> widths) {
    return error_of<ConfigError>([&] { spectral_targets(centres, widths); });
  };
  EXPECT_THAT(wrong({"450"}, {"5nm"}), HasSubstr("centres: '450' is no wavelength"));
  EXPECT_THAT(wrong({"450nm"}, {}), HasSubstr("must be given for a single centre"));
  EXPECT_THAT(wrong({"450nm", "460nm", "470nm"}, {"1nm", "2nm"}), HasSubstr("2 are given for 3"));
  EXPECT_THAT(wrong({"450nm", "450nm"}, {"1nm"}), HasSubstr("450nm is given twice"));
}

TEST(SpectralPlan, TableOfASensor) {
  const std::string path = testing::TempDir() + "sensor.csv";
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  write("Name, wavelength ,FWHM\nblue,0.49,0.065\r\n\nred,0.665,0.03\n");
  const auto targets = read_sensor_table(path);
  ASSERT_EQ(targets.size(), 2U);
  EXPECT_EQ(targets[1].name, "red");
  EXPECT_NEAR(targets[1].centre_nm, 665, 1e-9);
  EXPECT_NEAR(targets[0].fwhm_nm, 65, 1e-9);
  const auto wrong = [&](const std::string& text) {
    write(text);
    return error_of<DataError>([&] { read_sensor_table(path); });
  };
  EXPECT_THAT(wrong("wavelength\n450\n"), HasSubstr("no column 'fwhm'"));
  EXPECT_THAT(wrong("wavelength,fwhm\n450,5\n460\n"),
              HasSubstr("sensor.csv:3: expected 2 columns"));
  EXPECT_THAT(wrong("wavelength,fwhm\n450,wide\n"), HasSubstr("sensor.csv:2: expected a number"));
  EXPECT_THAT(wrong("wavelength,fwhm\n"), HasSubstr("has no bands"));
  std::filesystem::remove(path);
}

// A cube of 8 bands at 500, 510, ... nm and 2 x 3 pixels; band b has 10 b + pixel, some are
// missing.
class SpectralReading : public testing::Test {
 protected:
  SpectralReading() {
    path_ = testing::TempDir() + "spectral_" +
            testing::UnitTest::GetInstance()->current_test_info()->name() + ".h5";
    std::vector<double> values, wavelengths;
    for (int p = 0; p < 6; ++p) {
      for (int b = 0; b < 8; ++b) values.push_back(stored(b, p));
    }
    for (int b = 0; b < 8; ++b) wavelengths.push_back(500 + 10 * b);
    Hdf5Writer file(path_);
    file.dataset("/cube", H5T_STD_I16LE, {2, 3, 8}, values, {1, 2, 2});
    file.attribute("/cube", "wavelength", wavelengths);
    file.attribute("/cube", "_FillValue", {-1});
    options_.files = {path_};
  }
  ~SpectralReading() override { std::filesystem::remove(path_); }

  static double stored(int band, int pixel) {
    const bool missing = (pixel == 1 && band == 0) || (pixel == 2 && band < 3) || pixel == 3;
    return missing ? -1 : 10 * band + pixel;
  }

  // Weighted mean over the bands that are not missing, if they have half of the weight.
  static float mean(const std::vector<double>& weights, int pixel) {
    double sum = 0, of_valid = 0, of_all = 0;
    for (int b = 0; b < 8; ++b) {
      const double w = weights[static_cast<std::size_t>(b)];
      of_all += w;
      if (stored(b, pixel) == -1) continue;
      of_valid += w;
      sum += w * stored(b, pixel);
    }
    return of_valid * 2 >= of_all ? static_cast<float>(sum / of_valid) : kNan;
  }

  std::string path_;
  CubeOptions options_;
};

TEST_F(SpectralReading, Bins) {
  options_.bin = 4;
  const auto source = open_cube(options_);
  ASSERT_EQ(source->channels().size(), 2U);
  EXPECT_EQ(source->channels()[0].name, "515.0nm");
  const Image image = source->read(0);
  const float* found = image.data_cyx.data<float>();
  EXPECT_THAT(std::vector<float>(found, found + 6),
              ElementsAre(15, FloatEq(21), testing::IsNan(), testing::IsNan(), 19, 20));
  EXPECT_FLOAT_EQ(found[6 + 2], 57);
  EXPECT_EQ(source->bytes_decoded(), 6 * 8 * 2);
}

TEST_F(SpectralReading, ResampledWithWindowAffineAndKeptChannels) {
  options_.centres = {"560nm", "512nm", "531nm"};
  options_.widths = {"14nm", "20nm", "11nm"};
  const auto weights = [](double centre, double width) {
    std::vector<double> w;
    for (int b = 0; b < 8; ++b) {
      const double d = (500 + 10 * b - centre) / width;
      w.push_back(std::abs(d) > 2 ? 0 : std::exp(-4 * std::log(2.0) * d * d));
    }
    return w;
  };
  const auto near = [](float expected) {
    return std::isnan(expected) ? testing::Matcher<float>(testing::IsNan())
                                : testing::Matcher<float>(FloatNear(expected, 2e-5F * expected));
  };
  const auto source = open_cube(options_);
  const Image image = source->read(0);
  for (int p = 0; p < 6; ++p) {
    const float* found = image.data_cyx.data<float>() + p;
    EXPECT_THAT(found[0], near(mean(weights(560, 14), p))) << p;
    EXPECT_THAT(found[6], near(mean(weights(512, 20), p))) << p;
    EXPECT_THAT(found[12], near(mean(weights(531, 11), p))) << p;
  }
  // The second and third alone, of the lower row, scaled: bands beyond 551 nm are not read.
  const auto part = open_cube(options_);
  const std::vector<std::int64_t> kept{1, 2}, second{1};
  part->keep_channels(kept);
  EXPECT_EQ(part->channels()[0].name, "512.0nm");
  const std::vector<Affine> affine{{2, -1}, {-3, 5}};
  std::vector<float> out(2 * 3);
  const Provenance from = part->read_into(0, Window{1, 0, 1, 3}, {out.data(), affine});
  EXPECT_EQ(from.window, (Window{1, 0, 1, 3}));
  for (int x = 0; x < 3; ++x) {
    const float first = image.data_cyx.data<float>()[6 + 3 + x];
    const float other = image.data_cyx.data<float>()[12 + 3 + x];
    EXPECT_THAT(out[static_cast<std::size_t>(x)], near(2 * first - 1));
    if (x != 0) {
      EXPECT_NEAR(out[static_cast<std::size_t>(3 + x)], -3 * other + 5, 1e-4);
    } else {
      EXPECT_TRUE(std::isnan(out[3]));
    }
  }
  EXPECT_EQ(part->bytes_decoded(), 3 * 6 * 2);  // 500 to 550 nm
  part->keep_channels(second);
  const Image third = part->read(0);
  EXPECT_EQ(third.data_cyx.shape(), (Shape{1, 2, 3}));
  EXPECT_EQ(third.data_cyx.data<float>()[5], image.data_cyx.data<float>()[12 + 5]);
  part->keep_channels({});
  EXPECT_EQ(part->read(0).data_cyx.shape(), (Shape{0, 2, 3}));
}

TEST_F(SpectralReading, OnlyBandsThatAreSelectedAndGoodTakePart) {
  options_.centres = {"520nm"};
  options_.widths = {"15nm"};
  options_.channels = {"520nm..570nm"};
  options_.bad_bands = {"530nm"};
  const auto source = open_cube(options_);
  const Image image = source->read(0);
  const double at_540 = std::exp2(-4 * (20 / 15.0) * (20 / 15.0));
  const double at_550 = std::exp2(-4 * 4.0);
  EXPECT_NEAR(image.data_cyx.data<float>()[0],
              (20 + 40 * at_540 + 50 * at_550) / (1 + at_540 + at_550), 1e-4);
  EXPECT_EQ(source->bytes_decoded(), 6 * 3 * 2);
}

TEST_F(SpectralReading, WishesThatExcludeEachOther) {
  const auto wrong = [&](const std::function<void(CubeOptions&)>& change) {
    CubeOptions options = options_;
    change(options);
    return error_of<ConfigError>([&] { open_cube(options); });
  };
  EXPECT_THAT(wrong([](CubeOptions& o) { o.bin = 0; }), HasSubstr("bin: 0"));
  EXPECT_THAT(wrong([](CubeOptions& o) { o.widths = {"5nm"}; }), HasSubstr("without centres"));
  EXPECT_THAT(wrong([](CubeOptions& o) {
                o.centres = {"500nm", "520nm"};
                o.bin = 2;
              }),
              HasSubstr("bin goes with bands as they are"));
  EXPECT_THAT(wrong([](CubeOptions& o) {
                o.centres = {"500nm", "520nm"};
                o.sensor = "x.csv";
              }),
              HasSubstr("give one of them"));
}

}  // namespace
}  // namespace trib::io
