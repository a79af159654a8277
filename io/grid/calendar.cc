#include "io/grid/calendar.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

namespace trib::io {
namespace {

constexpr double kDay = 86400;
// Days of the months of a year of 365 days.
constexpr int kMonths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

bool is_leap(Calendar calendar, int year) {
  switch (calendar) {
    case Calendar::gregorian:
      return std::chrono::year{year}.is_leap();
    case Calendar::all_leap:
      return true;
    case Calendar::no_leap:
    case Calendar::days_360:
      break;
  }
  return false;
}

int month_length(Calendar calendar, int year, int month) {
  if (calendar == Calendar::days_360) return 30;
  return kMonths[month - 1] + (month == 2 && is_leap(calendar, year) ? 1 : 0);
}

int year_length(Calendar calendar, int year) {
  if (calendar == Calendar::days_360) return 360;
  return is_leap(calendar, year) ? 366 : 365;
}

double gregorian_days(int year, int month, int day) {
  using namespace std::chrono;
  const sys_days days{year_month_day{std::chrono::year{year},
                                     std::chrono::month{static_cast<unsigned>(month)},
                                     std::chrono::day{1}}};
  return static_cast<double>(days.time_since_epoch().count()) + (day - 1);
}

// Days before a month in its year.
int days_before(Calendar calendar, int year, int month) {
  int days = 0;
  for (int m = 1; m < month; ++m) days += month_length(calendar, year, m);
  return days;
}

double days_of(Calendar calendar, int year, int month, int day) {
  if (calendar == Calendar::gregorian) return gregorian_days(year, month, day);
  return static_cast<double>(year - 1970) * year_length(calendar, year) +
         days_before(calendar, year, month) + (day - 1);
}

}  // namespace

std::string_view name_of(Calendar calendar) {
  switch (calendar) {
    case Calendar::no_leap:
      return "noleap";
    case Calendar::all_leap:
      return "all_leap";
    case Calendar::days_360:
      return "360_day";
    case Calendar::gregorian:
      break;
  }
  return "gregorian";
}

bool has_day(Calendar calendar, int year, int month, int day) {
  return month >= 1 && month <= 12 && day >= 1 && day <= month_length(calendar, year, month);
}

double time_of(Calendar calendar, const CalendarDate& date) {
  return days_of(calendar, date.year, date.month, date.day) * kDay + date.seconds;
}

CalendarDate date_of(Calendar calendar, double time) {
  const double days = std::floor(time / kDay);
  CalendarDate date;
  date.seconds = time - days * kDay;
  if (calendar == Calendar::gregorian) {
    using namespace std::chrono;
    const year_month_day ymd{sys_days{std::chrono::days{static_cast<std::int64_t>(days)}}};
    date.year = static_cast<int>(ymd.year());
    date.month = static_cast<int>(static_cast<unsigned>(ymd.month()));
    date.day = static_cast<int>(static_cast<unsigned>(ymd.day()));
    return date;
  }
  const int length = year_length(calendar, 1970);
  const double years = std::floor(days / length);
  date.year = 1970 + static_cast<int>(years);
  int left = static_cast<int>(days - years * length);
  while (left >= month_length(calendar, date.year, date.month)) {
    left -= month_length(calendar, date.year, date.month++);
  }
  date.day = left + 1;
  return date;
}

DayOfYear day_of_year(Calendar calendar, double time) {
  const CalendarDate date = date_of(calendar, time);
  return {days_before(calendar, date.year, date.month) + (date.day - 1) + date.seconds / kDay,
          year_length(calendar, date.year)};
}

double gregorian_time(Calendar calendar, double time) {
  if (calendar == Calendar::gregorian || !std::isfinite(time)) return time;
  CalendarDate date = date_of(calendar, time);
  date.day = std::min(date.day, month_length(Calendar::gregorian, date.year, date.month));
  return time_of(Calendar::gregorian, date);
}

// A leap year every fourth year, and 0001-01-01 Julian is 0000-12-30 Gregorian.
double julian_days(int year, int month, int day) {
  const int y = year - 1;
  const int leap_days = y >= 0 ? y / 4 : (y - 3) / 4;
  const int in_year =
      days_before(year % 4 == 0 ? Calendar::all_leap : Calendar::no_leap, year, month) + day - 1;
  return gregorian_days(0, 12, 30) + 365.0 * y + leap_days + in_year;
}

std::string format_time(double time, Calendar calendar) {
  if (!std::isfinite(time)) return "no time";
  const CalendarDate date = date_of(calendar, time);
  const int minutes = static_cast<int>(date.seconds / 60);
  const double left = date.seconds - minutes * 60;
  const std::string tail = left > 0 ? fmt::format(":{:02g}", left) : "";
  return fmt::format("{:04d}-{:02d}-{:02d}T{:02d}:{:02d}{}Z", date.year, date.month, date.day,
                     minutes / 60, minutes % 60, tail);
}

}  // namespace trib::io
