// Where the sun stands, and what it sends to the top of the atmosphere.
//
// The formulas are those of ECMWF's IFS (subroutine SUCST and statement functions FCTTIM: orbit,
// declination, equation of time), which GraphCast (Lam et al., 2023) found to give the radiation of
// ERA5. Angles are in radians, times in seconds since 1970-01-01T00:00Z.
#pragma once

#include <span>

namespace trib::pipeline {

/// W m-2 at the mean distance of the sun; the reference value of ecRad and of GraphCast. That of
/// ERA5 follows the solar cycle within 0.06 % of it.
inline constexpr double kSolarConstant = 1361;

struct Sun {
  double sin_declination, cos_declination;
  double hour_angle;   ///< at Greenwich; 0 when the sun is in the south (or north) there
  double distance_au;  ///< from the earth
};

Sun sun_at(double time);

/// Cosine of the angle between the sun and the zenith: negative at night.
double cos_solar_zenith(const Sun& sun, double latitude, double longitude);

/// Radiation on a horizontal plane at the top of the atmosphere, in J m-2, during the `seconds`
/// before `time`, at most a day: out[y * longitudes.size() + x]. Latitudes and longitudes are in
/// degrees. The hour angle is integrated over exactly; declination and distance are those of the
/// middle of the period.
void toa_incident_solar_radiation(double time, double seconds, std::span<const double> latitudes,
                                  std::span<const double> longitudes, float* out_yx);

}  // namespace trib::pipeline
