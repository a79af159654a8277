#include "io/sample_data/maize_field.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "io/sample_data/smooth_field.h"

namespace trib::io {
namespace {

constexpr double kRowSpacing = 7.5;     // pixels
constexpr int kPlots = 4;               // along each side
constexpr double kLabelledCover = 0.5;  // plants from here on

double bell(double x, double centre, double width) {
  const double z = (x - centre) / width;
  return std::exp(-z * z / 2);
}

double step(double x, double centre, double width) {
  return 1 / (1 + std::exp(-(x - centre) / width));
}

/// Standard deviation of the sensor's noise in reflectance: silicon is poor at both ends.
double noise_level(double wavelength) {
  return 0.002 + 0.008 * bell(wavelength, 390, 25) + 0.007 * bell(wavelength, 1010, 35);
}

/// How the plants of a pixel are.
struct Canopy {
  double cover, chlorophyll, water;
};

}  // namespace

std::vector<double> maize_wavelengths(int bands) {
  std::vector<double> wavelengths(static_cast<std::size_t>(bands));
  for (int b = 0; b < bands; ++b) {
    wavelengths[static_cast<std::size_t>(b)] = 400 + 600.0 * b / (bands - 1);
  }
  return wavelengths;
}

double leaf_reflectance(double wavelength, double chlorophyll, double water) {
  const double visible = 0.035 + 0.012 * step(wavelength, 500, 15) +
                         (0.145 - 0.085 * chlorophyll) * bell(wavelength, 552, 30) +
                         (0.05 - 0.03 * chlorophyll) * bell(wavelength, 625, 30);
  const double plateau =
      0.47 + 0.03 * (wavelength - 800) / 200 - (0.02 + 0.05 * water) * bell(wavelength, 970, 22);
  const double edge = step(wavelength, 705 + 30 * chlorophyll, 9);
  return visible * (1 - edge) + plateau * edge;
}

double soil_reflectance(double wavelength, double moisture) {
  const double dry =
      0.06 + 0.30 * (1 - std::exp(-(wavelength - 380) / 420)) - 0.012 * bell(wavelength, 870, 45);
  return dry * (1 - 0.45 * moisture);
}

MaizeField make_maize_field(const RandomStream& random, int size,
                            const std::vector<double>& wavelengths) {
  const auto field = [&](std::uint64_t id, double feature) {
    return smooth_field(random.substream(id), size, size, feature);
  };
  const std::vector<float> growth = field(0, 12), greenness = field(1, 16), wetness = field(2, 20);
  const std::vector<float> light = field(3, 24), gaps = field(4, 5);
  const RandomStream plots = random.substream(5), geometry = random.substream(6);
  const RandomStream noise = random.substream(7), stripes = random.substream(8);

  const double angle = (geometry.uniform(0) - 0.5) * 0.6;
  const double offset = kRowSpacing * geometry.uniform(1);
  // 1 on a row of plants, 0 halfway between two.
  const auto row_profile = [&](double x, double y) {
    const double across = x * std::cos(angle) + y * std::sin(angle) + offset;
    return 0.5 + 0.5 * std::cos(2 * std::numbers::pi * across / kRowSpacing);
  };

  const std::size_t bands = wavelengths.size();
  const auto pixels = static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
  MaizeField maize{std::vector<std::int16_t>(pixels * bands), std::vector<FieldLabel>(pixels)};
  for (std::size_t i = 0; i < pixels; ++i) {
    const auto x = static_cast<int>(i % static_cast<std::size_t>(size));
    const auto y = static_cast<int>(i / static_cast<std::size_t>(size));
    const int plot = y * kPlots / size * kPlots + x * kPlots / size;
    const auto nitrogen = static_cast<int>(plots.below(static_cast<std::uint64_t>(plot), 3));

    const double row = row_profile(x, y);
    const Canopy canopy{
        step(row + 0.10 * growth[i] + 0.12 * gaps[i] + 0.06 * (nitrogen - 1), 0.52, 0.09),
        std::clamp(0.2 + 0.3 * nitrogen + 0.07 * greenness[i], 0.0, 1.0),
        std::clamp(0.5 + 0.25 * wetness[i], 0.0, 1.0)};
    maize.labels[i] =
        canopy.cover < kLabelledCover ? FieldLabel::soil : static_cast<FieldLabel>(1 + nitrogen);

    // The sun stands on the left: soil right of a row lies in its shadow.
    const double shadow = row_profile(x - 2.2, y) * (1 - canopy.cover);
    const double brightness = (1 + 0.08 * light[i]) * (1 - 0.5 * shadow);
    const double moisture = std::clamp(0.35 + 0.2 * wetness[i], 0.0, 1.0);
    for (std::size_t b = 0; b < bands; ++b) {
      const double leaf = leaf_reflectance(wavelengths[b], canopy.chlorophyll, canopy.water);
      const double soil = soil_reflectance(wavelengths[b], moisture);
      const double gain = 1 + 0.004 * stripes.normal(static_cast<std::size_t>(x) * bands + b);
      const double seen = brightness * gain * (canopy.cover * leaf + (1 - canopy.cover) * soil) +
                          noise_level(wavelengths[b]) * noise.normal(i * bands + b);
      maize.reflectance[i * bands + b] =
          static_cast<std::int16_t>(std::lround(std::clamp(seen, -0.02, 1.0) * 10000));
    }
  }
  return maize;
}

}  // namespace trib::io
