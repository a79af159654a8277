// A made-up maize field as a hyperspectral camera above it sees it.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/base/random.h"

namespace trib::io {

/// What a pixel shows: soil, or plants of a plot with little, some or ample nitrogen.
enum class FieldLabel : std::uint8_t { soil, low_nitrogen, medium_nitrogen, high_nitrogen };

struct MaizeField {
  std::vector<std::int16_t> reflectance;  ///< [y, x, band], times 10000
  std::vector<FieldLabel> labels;         ///< [y, x]
};

/// `bands` wavelengths in nm, evenly from 400 to 1000.
std::vector<double> maize_wavelengths(int bands);

/// Reflectance of a maize leaf. Chlorophyll in [0, 1] darkens the green peak at 550 nm and moves
/// the red edge from 705 to 735 nm; water in [0, 1] deepens the absorption at 970 nm.
double leaf_reflectance(double wavelength, double chlorophyll, double water);

/// Reflectance of soil, rising smoothly; moisture in [0, 1] darkens it.
double soil_reflectance(double wavelength, double moisture);

/// Rows of plants on soil, in plots of differing nitrogen supply, with shadows between the rows,
/// uneven light and the noise of a push-broom sensor.
MaizeField make_maize_field(const RandomStream& random, int size,
                            const std::vector<double>& wavelengths);

}  // namespace trib::io
