// A made-up atmosphere: a zonal mean state with Rossby waves that travel through it.
#pragma once

#include <array>
#include <vector>

#include "ops/base/random.h"

namespace trib::io {

/// Fields at 500 and 850 hPa and near the ground at one place and time, in SI units.
struct AirColumn {
  struct Level {
    double z, t, u, v, q;  ///< geopotential, temperature, wind eastward, northward, humidity
  };
  Level at_500, at_850;
  double t2m, u10, v10;
};

/// The state is a sum of waves of zonal wavenumber 1 to 8, of two shapes in each hemisphere and
/// some along the equator. Each moves with the phase speed of a Rossby wave of its length (long
/// ones nearly stand, short ones travel 10 to 15 degrees a day) and slowly grows and decays.
/// Winds are geostrophic, temperature follows from the thickness of the layer, with warm air ahead
/// of the troughs because the waves lean westward with height; humidity follows from temperature,
/// and land warms by day.
class Atmosphere {
 public:
  explicit Atmosphere(const RandomStream& random);

  /// The columns along a parallel at the given longitudes, degrees, `hours` after the beginning.
  void parallel(double latitude, const std::vector<double>& longitudes, double hours,
                std::vector<AirColumn>& columns) const;

 private:
  struct Wave {
    int wavenumber;
    double centre, width;  ///< of the latitude envelope, degrees
    bool is_odd;           ///< changes sign at the centre
    double amplitude;      ///< geopotential height at 500 hPa, m
    double phase;          ///< radians
    double frequency;      ///< radians an hour
    double lean;           ///< of the crest with latitude, radians a degree
    double pulse_phase, pulse_frequency;
  };

  double land_fraction(double latitude, double longitude) const;

  std::vector<Wave> waves_;
  std::vector<Wave> continents_;
};

}  // namespace trib::io
