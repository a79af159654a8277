#include "pipeline/stages/solar.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace trib::pipeline {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr double kDay = 86400;
constexpr double kJ2000 = 946728000;  // 2000-01-01T12:00Z
constexpr double kRadians = kPi / 180;

}  // namespace

Sun sun_at(double time) {
  const double days = (time - kJ2000) / kDay;
  const double years = days / 365.25;
  const double rel = 1.7535 + 6.283076 * years;    // angle of the orbit
  const double rem = 6.240041 + 6.283020 * years;  // mean anomaly
  const double rlls = 4.8951 + 6.283076 * years;   // mean longitude of the sun
  // Its true longitude.
  const double rllls = 4.8952 + 6.283320 * years - 0.0075 * std::sin(rel) - 0.0326 * std::cos(rel) -
                       0.0003 * std::sin(2 * rel) + 0.0002 * std::cos(2 * rel);
  constexpr double kObliquity = 0.409093;
  const double equation_of_time = 591.8 * std::sin(2 * rlls) - 459.4 * std::sin(rem) +
                                  39.5 * std::sin(rem) * std::cos(2 * rlls) -
                                  12.7 * std::sin(4 * rlls) - 4.8 * std::sin(2 * rem);
  Sun sun{};
  sun.sin_declination = std::sin(kObliquity) * std::sin(rllls);
  sun.cos_declination = std::sqrt(1 - sun.sin_declination * sun.sin_declination);
  // J2000 was at noon.
  const double turns = days + equation_of_time / kDay;
  sun.hour_angle = 2 * kPi * (turns - std::floor(turns));
  sun.distance_au = 1.0001 - 0.0163 * std::sin(rel) + 0.0037 * std::cos(rel);
  return sun;
}

double cos_solar_zenith(const Sun& sun, double latitude, double longitude) {
  return std::sin(latitude) * sun.sin_declination +
         std::cos(latitude) * sun.cos_declination * std::cos(sun.hour_angle + longitude);
}

void toa_incident_solar_radiation(double time, double seconds, std::span<const double> latitudes,
                                  std::span<const double> longitudes, float* out_yx) {
  const Sun sun = sun_at(time - seconds / 2);
  const double length = 2 * kPi * seconds / kDay;
  // Hour angles of each column during the period, which begins within half a turn of noon.
  struct Column {
    double begin, end, sin_begin, sin_end;
  };
  std::vector<Column> columns;
  for (const double longitude : longitudes) {
    const double begin = sun.hour_angle + longitude * kRadians - length / 2;
    const double turned = begin - 2 * kPi * std::floor((begin + kPi) / (2 * kPi));
    columns.push_back({turned, turned + length, std::sin(turned), std::sin(turned + length)});
  }
  const double flux = kSolarConstant / (sun.distance_au * sun.distance_au) * kDay / (2 * kPi);
  for (const double latitude : latitudes) {
    // The cosine of the zenith angle is a + b cos(hour angle), b >= 0.
    const double a = std::sin(latitude * kRadians) * sun.sin_declination;
    const double b = std::max(0.0, std::cos(latitude * kRadians) * sun.cos_declination);
    // The sun is up between the hour angles -set and set.
    const double set = a >= b ? kPi : a <= -b ? 0 : std::acos(-a / b);
    const double sin_set = std::sin(set);
    for (const Column& column : columns) {
      double sum = 0;
      for (const double noon : {0.0, 2 * kPi}) {
        const bool rises = column.begin<noon - set, sets = column.end> noon + set;
        const double begin = rises ? noon - set : column.begin;
        const double end = sets ? noon + set : column.end;
        if (begin >= end) continue;
        sum += a * (end - begin) +
               b * ((sets ? sin_set : column.sin_end) - (rises ? -sin_set : column.sin_begin));
      }
      *out_yx++ = static_cast<float>(flux * std::max(0.0, sum));
    }
  }
}

}  // namespace trib::pipeline
