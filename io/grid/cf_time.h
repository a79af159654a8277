// Times as the CF conventions write them: "hours since 1900-01-01 00:00:00.0".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trib::io {

/// Turn the values of a time axis into seconds since 1970-01-01T00:00Z. `units` is "<unit> since
/// <date>" with a unit from seconds to days; `calendar` is empty or a name of the mixed
/// ("standard", "gregorian") or proleptic Gregorian calendar. `place` names the file and variable
/// in errors. Throws DataError for other units and for model calendars such as "360_day".
std::vector<double> decode_times(const std::vector<double>& values, std::string_view units,
                                 std::string_view calendar, const std::string& place);

/// "2019-03-01T06:00Z" (with seconds if there are any); "no time" for NaN.
std::string format_time(double seconds);

/// An inclusive range of times, in seconds since 1970.
struct TimeRange {
  double first, last;
  bool contains(double time) const { return first <= time && time <= last; }
};

/// Parse "2019-03-01..2019-03-20", "2019..", "..2019-03-01T06" or one date. A date stands for all
/// of its year, month, day, hour or minute, so the last day of a range belongs to it. Throws
/// ConfigError.
TimeRange parse_time_range(std::string_view text);

}  // namespace trib::io
