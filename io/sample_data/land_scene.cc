#include "io/sample_data/land_scene.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "io/sample_data/smooth_field.h"

namespace trib::io {
namespace {

using Spectrum = std::array<float, kSceneBands>;

// Typical surface reflectance in B02 (490 nm), B03 (560), B04 (665), B08 (842), B11 (1610) and
// B12 (2190).
constexpr std::array<Spectrum, kLandCovers> kSpectra{{
    {},                                                // none
    {0.055f, 0.050f, 0.035f, 0.020f, 0.010f, 0.007f},  // water
    {0.090f, 0.120f, 0.160f, 0.240f, 0.320f, 0.280f},  // soil
    {0.032f, 0.065f, 0.036f, 0.430f, 0.200f, 0.095f},  // crop, closed canopy
    {0.024f, 0.040f, 0.024f, 0.290f, 0.135f, 0.062f},  // forest
    {0.120f, 0.130f, 0.140f, 0.190f, 0.210f, 0.190f},  // urban
}};

// Relative variation within a class from pixel to pixel.
constexpr std::array<float, kLandCovers> kTexture{0, 0.06f, 0.07f, 0.06f, 0.16f, 0.30f};

constexpr float kSensorNoise = 0.0015f;

const Spectrum& spectrum_of(LandCover cover) {
  return kSpectra[static_cast<std::size_t>(cover)];
}

/// A field between its margins: what grows there, how densely, and how bright the soil is.
struct Parcel {
  LandCover cover = LandCover::soil;
  float canopy = 0;
  float soil_brightness = 1;
};

/// Parcels in strips that are turned against the image and shifted against each other.
class Parcels {
 public:
  explicit Parcels(const RandomStream& random)
      : random_(random), angle_(random.uniform(0) * std::numbers::pi_v<float>) {}

  Parcel at(float x, float y) const {
    constexpr float kLength = 34, kWidth = 15;  // pixels
    const float along = x * std::cos(angle_) + y * std::sin(angle_);
    const float across = y * std::cos(angle_) - x * std::sin(angle_);
    const float strip = std::floor(across / kWidth);
    const auto strip_id = static_cast<std::uint64_t>(static_cast<std::int64_t>(strip) + (1 << 20));
    const float shifted = along + kLength * random_.substream(strip_id).uniform(0);
    const float place = std::floor(shifted / kLength);
    const bool is_margin = across - strip * kWidth < 1 || shifted - place * kLength < 1;
    if (is_margin) return {LandCover::soil, 0.3f, 1.1f};
    const auto place_id = static_cast<std::uint64_t>(static_cast<std::int64_t>(place) + (1 << 20));
    const RandomStream parcel = random_.substream(strip_id).substream(place_id);
    const bool is_bare = parcel.uniform(0) < 0.3f;
    return {is_bare ? LandCover::soil : LandCover::crop,
            is_bare ? 0.05f : 0.55f + 0.45f * parcel.uniform(1), 0.8f + 0.4f * parcel.uniform(2)};
  }

 private:
  RandomStream random_;
  float angle_;
};

/// Blur by the sensor's point spread, [1 2 1] / 4 along both axes.
void blur(std::vector<float>& image, int size) {
  const auto at = [size](int y, int x) {
    return static_cast<std::size_t>(std::clamp(y, 0, size - 1)) * static_cast<std::size_t>(size) +
           static_cast<std::size_t>(std::clamp(x, 0, size - 1));
  };
  std::vector<float> rows(image.size());
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      rows[at(y, x)] = 0.25f * (image[at(y, x - 1)] + image[at(y, x + 1)]) + 0.5f * image[at(y, x)];
    }
  }
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      image[at(y, x)] = 0.25f * (rows[at(y - 1, x)] + rows[at(y + 1, x)]) + 0.5f * rows[at(y, x)];
    }
  }
}

}  // namespace

LandScene make_land_scene(const RandomStream& random, int size) {
  const double scale = size;
  const auto field = [&](std::uint64_t id, double feature, double roughness) {
    return smooth_field(random.substream(id), size, size, feature, roughness);
  };
  const std::vector<float> terrain = field(0, scale / 4, 0.45);
  const std::vector<float> river = field(1, scale / 2, 0.25);
  const std::vector<float> wetness = field(2, scale / 5, 0.5);
  const std::vector<float> settlement = field(3, scale / 5, 0.4);
  const std::vector<float> texture = field(4, 4, 0.9);
  const Parcels parcels(random.substream(5));
  const RandomStream noise = random.substream(6);
  const RandomStream edge = random.substream(7);

  LandScene scene{size, std::vector<LandCover>(terrain.size()),
                  std::vector<std::uint16_t>(terrain.size() * kSceneBands)};
  std::array<std::vector<float>, kSceneBands> bands;
  for (auto& band : bands) band.resize(terrain.size());

  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const std::size_t i = static_cast<std::size_t>(y) * static_cast<std::size_t>(size) +
                            static_cast<std::size_t>(x);
      Parcel parcel;
      if (std::abs(river[i]) < 0.07f || terrain[i] < -1.7f) {
        parcel.cover = LandCover::water;
      } else if (settlement[i] > 1.2f) {
        parcel.cover = LandCover::urban;
      } else if (wetness[i] > 0.6f) {
        parcel.cover = LandCover::forest;
      } else {
        parcel = parcels.at(static_cast<float>(x), static_cast<float>(y));
      }
      scene.cover[i] = parcel.cover;

      // Slopes that face the sun, low in the south-east, are brighter.
      const std::size_t east = x + 1 < size ? i + 1 : i;
      const std::size_t south = y + 1 < size ? i + static_cast<std::size_t>(size) : i;
      const float slope = (terrain[i] - terrain[east]) + (terrain[i] - terrain[south]);
      const bool is_water = parcel.cover == LandCover::water;
      const float light = is_water ? 1.0f : std::clamp(1 + 0.8f * slope, 0.75f, 1.25f);
      const float grain =
          std::max(0.3f, 1 + kTexture[static_cast<std::size_t>(parcel.cover)] * texture[i]);
      const bool is_field = parcel.cover == LandCover::soil || parcel.cover == LandCover::crop;
      for (std::size_t b = 0; b < kSceneBands; ++b) {
        const float pure = is_field ? parcel.canopy * spectrum_of(LandCover::crop)[b] +
                                          (1 - parcel.canopy) * parcel.soil_brightness *
                                              spectrum_of(LandCover::soil)[b]
                                    : spectrum_of(parcel.cover)[b];
        bands[b][i] = pure * light * grain;
      }
    }
  }

  // The swath ends within the scene on its left side, along a slanted line.
  const float edge_x = static_cast<float>(size) * (0.04f + 0.06f * edge.uniform(0));
  const float edge_slope = 0.10f + 0.10f * edge.uniform(1);
  for (std::size_t b = 0; b < kSceneBands; ++b) {
    blur(bands[b], size);
    for (std::size_t i = 0; i < terrain.size(); ++i) {
      const std::size_t y = i / static_cast<std::size_t>(size);
      const std::size_t x = i % static_cast<std::size_t>(size);
      std::uint16_t& stored = scene.reflectance[b * terrain.size() + i];
      if (static_cast<float>(x) < edge_x - edge_slope * static_cast<float>(y)) {
        stored = 0;
        scene.cover[i] = LandCover::none;
        continue;
      }
      const float seen = bands[b][i] + kSensorNoise * noise.normal(b * terrain.size() + i);
      stored = static_cast<std::uint16_t>(std::clamp(std::round(seen * 10000), 1.0f, 10000.0f));
    }
  }
  return scene;
}

}  // namespace trib::io
