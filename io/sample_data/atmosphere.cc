#include "io/sample_data/atmosphere.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace trib::io {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr double kRadians = kPi / 180;
constexpr double kGravity = 9.80665;         // m / s2
constexpr double kEarthRadius = 6.371e6;     // m
constexpr double kEarthRotation = 7.292e-5;  // 1 / s
constexpr double kGasConstant = 287.05;      // of dry air, J / kg / K

// Zonal mean height of a pressure level: equator - a sin^2 - b sin^4 of latitude, in m, which makes
// westerlies that are strongest in the middle latitudes.
struct MeanHeight {
  double equator, a, b;
};
constexpr MeanHeight kMean500{5870, 150, 650};
constexpr MeanHeight kMean850{1515, 20, 230};

// Waves are this much weaker, and this far ahead, at 850 hPa.
constexpr double kLowAmplitude = 0.5;
constexpr double kLowPhase = 0.7;

/// Height of a level and its derivatives by longitude and latitude, in m and m / radian. The one by
/// longitude is divided by the cosine of latitude, which is finite at the poles.
struct HeightField {
  double height = 0, by_longitude = 0, by_latitude = 0;
};

HeightField mean_height(const MeanHeight& mean, double sine, double cosine) {
  const double square = sine * sine;
  return {mean.equator - (mean.a + mean.b * square) * square, 0,
          -2 * sine * cosine * (mean.a + 2 * mean.b * square)};
}

/// 1 / f, kept finite where the Coriolis parameter f vanishes.
double inverse_coriolis(double sine) {
  const double f = 2 * kEarthRotation * sine;
  const double least = 2 * kEarthRotation * std::sin(8 * kRadians);
  return f / (f * f + least * least);
}

/// Saturation specific humidity over water (Bolton 1980), kg / kg.
double saturation_humidity(double temperature, double pressure) {
  const double vapour = 611.2 * std::exp(17.67 * (temperature - 273.15) / (temperature - 29.65));
  return 0.622 * vapour / (pressure - 0.378 * vapour);
}

AirColumn::Level level_of(const HeightField& height, double temperature, double sine,
                          double trade_wind, double pressure, double dryness) {
  const double to_wind = kGravity / kEarthRadius * inverse_coriolis(sine);
  AirColumn::Level level{};
  level.z = kGravity * height.height;
  level.t = temperature;
  level.u = -to_wind * height.by_latitude + trade_wind;
  level.v = to_wind * height.by_longitude;
  // Air that comes from the equator is moist.
  const double poleward = sine > 0 ? level.v : -level.v;
  const double humidity = std::clamp(dryness + 0.012 * poleward, 0.05, 1.0);
  level.q = humidity * saturation_humidity(temperature, pressure);
  return level;
}

}  // namespace

Atmosphere::Atmosphere(const RandomStream& random) {
  std::uint64_t draw = 0;
  const auto uniform = [&](double low, double high) {
    return low + (high - low) * random.uniform(draw++);
  };
  const auto add = [&](int wavenumber, double centre, double width, bool is_odd, double amplitude,
                       double speed) {
    const double radius = kEarthRadius * std::cos(centre * kRadians);
    waves_.push_back({wavenumber, centre, width, is_odd, amplitude, uniform(0, 2 * kPi),
                      wavenumber * speed / radius * 3600, uniform(-0.02, 0.02), uniform(0, 2 * kPi),
                      2 * kPi / uniform(120, 300)});
  };
  for (const double hemisphere : {-1.0, 1.0}) {
    for (int k = 1; k <= 8; ++k) {
      for (const bool is_odd : {false, true}) {
        const double centre = hemisphere * uniform(46, 56);
        // Phase speed U - beta / K^2 of a barotropic Rossby wave.
        const double beta = 2 * kEarthRotation * std::cos(centre * kRadians) / kEarthRadius;
        const double along = k / (kEarthRadius * std::cos(centre * kRadians));
        const double across = kPi / (is_odd ? 3.0e6 : 5.0e6);
        const double speed = std::max(17 - beta / (along * along + across * across), -6.0);
        const double strength =
            (is_odd ? 28 : 60) * uniform(0.7, 1.3) / (1 + 0.05 * (k - 4) * (k - 4));
        add(k, centre, is_odd ? 17 : 14, is_odd, strength, speed);
      }
    }
  }
  for (int k = 1; k <= 4; ++k) add(k, uniform(-4, 4), 16, false, uniform(8, 14), uniform(8, 16));

  for (int k = 1; k <= 4; ++k) {
    for (const double centre : {-50.0, -15.0, 15.0, 50.0}) {
      continents_.push_back({k, centre, 28, false, uniform(0.5, 1.0), uniform(0, 2 * kPi), 0,
                             uniform(-0.01, 0.01), 0, 0});
    }
  }
}

double Atmosphere::land_fraction(double latitude, double longitude) const {
  double sum = -0.5;
  for (const Wave& wave : continents_) {
    const double x = (latitude - wave.centre) / wave.width;
    sum += wave.amplitude * std::exp(-x * x) *
           std::cos(wave.wavenumber * longitude * kRadians + wave.phase + wave.lean * latitude);
  }
  return 1 / (1 + std::exp(-6 * sum));
}

void Atmosphere::parallel(double latitude, const std::vector<double>& longitudes, double hours,
                          std::vector<AirColumn>& columns) const {
  const double sine = std::sin(latitude * kRadians), cosine = std::cos(latitude * kRadians);
  const HeightField mean_500 = mean_height(kMean500, sine, cosine);
  const HeightField mean_850 = mean_height(kMean850, sine, cosine);
  std::vector<HeightField> high(longitudes.size(), mean_500), low(longitudes.size(), mean_850);

  for (const Wave& wave : waves_) {
    // Envelope cos^2(latitude) * exp(-x^2), times x for the odd ones, and its derivative.
    const double x = (latitude - wave.centre) / wave.width;
    const double bell = std::exp(-x * x);
    const double shape = wave.is_odd ? 1.6 * x * bell : bell;
    const double shape_by_x = wave.is_odd ? 1.6 * (1 - 2 * x * x) * bell : -2 * x * bell;
    const double width = wave.width * kRadians;
    const double pulse = 1 + 0.3 * std::cos(wave.pulse_frequency * hours + wave.pulse_phase);
    const double strength = wave.amplitude * pulse / std::pow(std::cos(wave.centre * kRadians), 2);
    const double by_latitude = strength * cosine * (cosine * shape_by_x / width - 2 * sine * shape);
    const double lean = wave.lean / kRadians;
    const double phase = wave.phase - wave.frequency * hours + wave.lean * (latitude - wave.centre);
    for (std::size_t i = 0; i < longitudes.size(); ++i) {
      const auto add = [&](HeightField& field, double factor, double angle) {
        const double crest = factor * std::cos(angle), slope = factor * std::sin(angle);
        field.height += strength * cosine * cosine * shape * crest;
        field.by_longitude -= strength * cosine * shape * wave.wavenumber * slope;
        field.by_latitude +=
            by_latitude * crest - strength * cosine * cosine * shape * lean * slope;
      };
      const double angle = wave.wavenumber * longitudes[i] * kRadians + phase;
      add(high[i], 1, angle);
      add(low[i], kLowAmplitude, angle - kLowPhase);
    }
  }

  const double trade_wind = -5 * std::exp(-std::pow(latitude / 18, 2));
  const double thickness_to_kelvin = kGravity / (kGasConstant * std::log(850.0 / 500.0));
  columns.resize(longitudes.size());
  for (std::size_t i = 0; i < longitudes.size(); ++i) {
    AirColumn& column = columns[i];
    const double layer = thickness_to_kelvin * (high[i].height - low[i].height);
    column.at_500 = level_of(high[i], layer - 16, sine, 0.4 * trade_wind, 50'000, 0.35);
    column.at_850 = level_of(low[i], layer + 10, sine, trade_wind, 85'000, 0.65);

    const double land = land_fraction(latitude, longitudes[i]);
    const double solar_hour = std::fmod(hours + longitudes[i] / 15, 24.0);
    const double day = std::cos(2 * kPi * (solar_hour - 14) / 24);
    column.t2m = column.at_850.t + 0.0062 * low[i].height + cosine * (0.7 + 6.5 * land) * day;
    // Friction slows the wind and turns it towards low pressure.
    const double slow = 0.75 - 0.3 * land;
    const double turn = (sine > 0 ? 1 : -1) * (15 + 15 * land) * kRadians;
    column.u10 = slow * (column.at_850.u * std::cos(turn) - column.at_850.v * std::sin(turn));
    column.v10 = slow * (column.at_850.u * std::sin(turn) + column.at_850.v * std::cos(turn));
  }
}

}  // namespace trib::io
