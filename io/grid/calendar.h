// Calendars of time axes: those of the world, and the simpler years of climate models.
//
// A time is a number of seconds since 1970-01-01T00:00Z, counted with the days of its calendar. So
// times of one calendar can be subtracted, in models as in the world.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trib::io {

enum class Calendar : std::uint8_t {
  gregorian,  ///< of the world, proleptic
  no_leap,    ///< every year has 365 days
  all_leap,   ///< every year has 366 days
  days_360,   ///< every month has 30 days
};

/// "gregorian", "noleap", "all_leap", "360_day".
std::string_view name_of(Calendar calendar);

/// A day and the seconds in it.
struct CalendarDate {
  int year = 1970, month = 1, day = 1;
  double seconds = 0;  ///< of the day
};

/// Whether the calendar has this day.
bool has_day(Calendar calendar, int year, int month, int day);

/// Time of a date that the calendar has.
double time_of(Calendar calendar, const CalendarDate& date);
CalendarDate date_of(Calendar calendar, double time);

/// Days from the beginning of the year, with the fraction, and days of that year.
struct DayOfYear {
  double days = 0;
  int year_length = 365;
};
DayOfYear day_of_year(Calendar calendar, double time);

/// The same date and hour in the Gregorian calendar: what the sun and all that know one calendar
/// only go by. A day that it lacks (30 February) becomes the last of its month.
double gregorian_time(Calendar calendar, double time);

/// Days from 1970-01-01 (Gregorian) to a date of the Julian calendar.
double julian_days(int year, int month, int day);

/// "2019-03-01T06:00Z" (with seconds if there are any); "no time" for NaN.
std::string format_time(double time, Calendar calendar = Calendar::gregorian);

}  // namespace trib::io
