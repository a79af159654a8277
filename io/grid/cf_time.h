// Times as the CF conventions write them: "hours since 1900-01-01 00:00:00.0".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/grid/calendar.h"

namespace trib::io {

/// The values of a time axis, decoded.
struct DecodedTimes {
  std::vector<double> times;  ///< seconds since 1970, see calendar.h; NaN where a value is missing
  Calendar calendar = Calendar::gregorian;
};

/// Decode the values of a time axis.
///
/// `units` is "<unit> since <date>" with a unit from nanoseconds to weeks, or "day as %Y%m%d.%f" as
/// cdo writes it. Months and years are taken as those of the calendar, so their values must be
/// whole numbers (but for years of 360 days, where a month is 30 days); the month of UDUNITS, a
/// twelfth of a tropical year, is not what anybody means by it.
///
/// `calendar` is empty or a name of CF: standard (gregorian), proleptic_gregorian, julian, noleap
/// (365_day), all_leap (366_day), 360_day. Times of standard and Julian calendars are moments of
/// the world and come out in the proleptic Gregorian calendar.
///
/// `place` names the file and variable in errors. Throws DataError for other units and calendars.
DecodedTimes decode_times(const std::vector<double>& values, std::string_view units,
                          std::string_view calendar, const std::string& place);

/// An inclusive range of times.
struct TimeRange {
  double first, last;
  bool contains(double time) const { return first <= time && time <= last; }
};

/// Parse "2019-03-01..2019-03-20", "2019..", "..2019-03-01T06" or one date. A date stands for all
/// of its year, month, day, hour or minute, so the last day of a range belongs to it. Throws
/// ConfigError.
TimeRange parse_time_range(std::string_view text, Calendar calendar = Calendar::gregorian);

}  // namespace trib::io
