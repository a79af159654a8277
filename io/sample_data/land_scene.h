// A made-up piece of land as an optical satellite sees it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ops/base/random.h"

namespace trib::io {

enum class LandCover : std::uint8_t { none, water, soil, crop, forest, urban };
inline constexpr int kLandCovers = 6;
inline constexpr int kSceneBands = 6;
inline constexpr std::array<const char*, kSceneBands> kSceneBandNames{"B02", "B03", "B04",
                                                                      "B08", "B11", "B12"};

/// Square image of 10 m pixels. Reflectance is stored times 10000, as Sentinel-2 does; 0 means no
/// data, beyond the slanted edge of the swath.
struct LandScene {
  int size = 0;
  std::vector<LandCover> cover;            ///< [y, x]
  std::vector<std::uint16_t> reflectance;  ///< [band, y, x]
};

/// Lakes and a river, forest, towns, and between them parcels of crops and bare soil.
LandScene make_land_scene(const RandomStream& random, int size);

}  // namespace trib::io
