#include "io/grid/cf_time.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "io/text.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr double kDay = 86400;

// A date with as many fields as were written.
struct Date {
  std::array<double, 6> fields{1970, 1, 1, 0, 0, 0};  // year, month, day, hour, minute, second
  std::size_t num_fields = 0;
  double zone_seconds = 0;
};

// How the dates of a file are counted.
struct Reckoning {
  Calendar calendar = Calendar::gregorian;
  bool julian = false;              // all dates are of the Julian calendar
  bool julian_before_1582 = false;  // those before 1582-10-15 are

  bool is_julian(const Date& date) const {
    const auto& f = date.fields;
    return julian || (julian_before_1582 && f[0] * 10000 + f[1] * 100 + f[2] < 15821015);
  }
};

bool exists(const Date& date, const Reckoning& reckoning) {
  const auto year = static_cast<int>(date.fields[0]);
  const auto month = static_cast<int>(date.fields[1]), day = static_cast<int>(date.fields[2]);
  if (!reckoning.is_julian(date)) return has_day(reckoning.calendar, year, month, day);
  return has_day(year % 4 == 0 ? Calendar::all_leap : Calendar::no_leap, year, month, day);
}

double to_seconds(const Date& date, const Reckoning& reckoning) {
  const auto& f = date.fields;
  const auto year = static_cast<int>(f[0]), month = static_cast<int>(f[1]);
  const auto day = static_cast<int>(f[2]);
  const double begin = reckoning.is_julian(date)
                           ? julian_days(year, month, day) * kDay
                           : time_of(reckoning.calendar, {year, month, day, 0});
  return begin + f[3] * 3600 + f[4] * 60 + f[5] - date.zone_seconds;
}

std::string_view stripped(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

// Parse digits and take them off the text; decimals only for the last field.
std::optional<double> take_number(std::string_view& text, bool decimals) {
  std::size_t n = 0;
  while (n < text.size() &&
         (std::isdigit(static_cast<unsigned char>(text[n])) || (decimals && text[n] == '.'))) {
    ++n;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + n, value);
  if (n == 0 || error != std::errc{} || end != text.data() + n) return std::nullopt;
  text.remove_prefix(n);
  return value;
}

// "Z", "UTC", "+01:00" or nothing, in seconds east of Greenwich.
std::optional<double> parse_zone(std::string_view text) {
  text = stripped(text);
  if (text.empty() || text == "Z" || text == "UTC" || text == "GMT") return 0;
  const double sign = text.front() == '-' ? -1 : 1;
  if (text.front() != '+' && text.front() != '-') return std::nullopt;
  text.remove_prefix(1);
  const std::optional<double> hours = take_number(text, false);
  if (!hours) return std::nullopt;
  if (text.empty()) {
    // "+01" or "+0100"
    const double whole = *hours >= 100 ? std::floor(*hours / 100) : *hours;
    return sign * (whole * 3600 + (*hours >= 100 ? std::fmod(*hours, 100) * 60 : 0));
  }
  if (text.front() != ':') return std::nullopt;
  text.remove_prefix(1);
  const std::optional<double> minutes = take_number(text, false);
  if (!minutes || !text.empty()) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60);
}

std::optional<Date> parse_date(std::string_view text) {
  static constexpr std::string_view kSeparators[] = {"", "-", "-", "T ", ":", ":"};
  static constexpr std::array<double, 6> kLowest{0, 1, 1, 0, 0, 0};
  static constexpr std::array<double, 6> kHighest{9999, 12, 31, 24, 59, 60};
  text = stripped(text);
  Date date;
  while (date.num_fields < date.fields.size()) {
    const std::size_t i = date.num_fields;
    std::string_view rest = text;
    if (i > 0) {
      if (rest.empty() || kSeparators[i].find(rest.front()) == std::string_view::npos) break;
      rest.remove_prefix(1);
    }
    const std::optional<double> value = take_number(rest, i == 5);
    if (!value) {
      // A blank may also come before the zone: "2019-03-01 UTC".
      if (i == 3) break;
      return std::nullopt;
    }
    if (*value < kLowest[i] || *value > kHighest[i]) return std::nullopt;
    date.fields[i] = *value;
    ++date.num_fields;
    text = rest;
  }
  const std::optional<double> zone = parse_zone(text);
  if (!zone) return std::nullopt;
  date.zone_seconds = *zone;
  return date;
}

// Seconds of a unit, or the months of one.
struct TimeUnit {
  std::string_view name;
  double seconds = 0;
  int months = 0;
};

std::optional<TimeUnit> find_unit(std::string_view name) {
  static constexpr TimeUnit kUnits[] = {{"nanosecond", 1e-9},
                                        {"ns", 1e-9},
                                        {"microsecond", 1e-6},
                                        {"us", 1e-6},
                                        {"millisecond", 1e-3},
                                        {"millisec", 1e-3},
                                        {"msec", 1e-3},
                                        {"ms", 1e-3},
                                        {"second", 1},
                                        {"sec", 1},
                                        {"s", 1},
                                        {"minute", 60},
                                        {"min", 60},
                                        {"hour", 3600},
                                        {"hr", 3600},
                                        {"h", 3600},
                                        {"day", kDay},
                                        {"d", kDay},
                                        {"week", 7 * kDay},
                                        {"month", 0, 1},
                                        {"mon", 0, 1},
                                        {"common_year", 365 * kDay},
                                        {"year", 0, 12},
                                        {"yr", 0, 12}};
  for (const TimeUnit& u : kUnits) {
    const bool plural = u.name.size() > 1 && u.name.back() != 's' && name.ends_with('s') &&
                        name.substr(0, name.size() - 1) == u.name;
    if (u.name == name || plural) return u;
  }
  return std::nullopt;
}

Reckoning parse_calendar(std::string_view text, const std::string& place) {
  const std::string name = lower(stripped(text));
  Reckoning reckoning;
  if (name.empty() || name == "standard" || name == "gregorian") {
    reckoning.julian_before_1582 = true;
  } else if (name == "julian") {
    reckoning.julian = true;
  } else if (name == "noleap" || name == "no_leap" || name == "365_day") {
    reckoning.calendar = Calendar::no_leap;
  } else if (name == "all_leap" || name == "366_day") {
    reckoning.calendar = Calendar::all_leap;
  } else if (name == "360_day" || name == "360") {
    reckoning.calendar = Calendar::days_360;
  } else if (name != "proleptic_gregorian") {
    throw DataError(
        fmt::format("{}: calendar \"{}\" is not supported, expected standard, gregorian, "
                    "proleptic_gregorian, julian, noleap, all_leap or 360_day",
                    place, text));
  }
  return reckoning;
}

// Fractions of hours and days are rounded to the millisecond they were written for.
double to_millisecond(double seconds) {
  return std::round(seconds * 1e3) / 1e3;
}

// A date some months later.
double months_later(Date date, double months, const Reckoning& reckoning,
                    const std::string& place) {
  if (months != std::round(months) || std::abs(months) > 12 * 9999) {
    throw DataError(fmt::format(
        "{}: {} months after a date is no date: with units of months or years, whole numbers are "
        "expected",
        place, months));
  }
  const double since_year_0 = date.fields[0] * 12 + date.fields[1] - 1 + months;
  date.fields[0] = std::floor(since_year_0 / 12);
  date.fields[1] = since_year_0 - date.fields[0] * 12 + 1;
  if (!exists(date, reckoning)) {
    throw DataError(fmt::format("{}: {} months after the reference date there is no day {}", place,
                                months, date.fields[2]));
  }
  return to_seconds(date, reckoning);
}

// 20190301.25 is six o'clock on the first of March.
double from_digits(double value, const Reckoning& reckoning, const std::string& place) {
  const double digits = std::floor(value);
  Date date;
  date.fields[0] = std::floor(digits / 10000);
  date.fields[1] = std::floor(std::fmod(digits, 10000) / 100);
  date.fields[2] = std::fmod(digits, 100);
  if (!(date.fields[0] >= 0 && date.fields[0] <= 9999) || !exists(date, reckoning)) {
    throw DataError(fmt::format("{}: {} is not a date like 20190301.25", place, value));
  }
  return to_seconds(date, reckoning) + (value - digits) * kDay;
}

// First moment after the period a date stands for.
double end_of(const Date& date, const Reckoning& reckoning) {
  static constexpr double kLengths[] = {kDay, 3600, 60};
  Date next = date;
  if (date.num_fields == 1) {
    next.fields[0] += 1;
  } else if (date.num_fields == 2) {
    next.fields[1] += 1;
    if (next.fields[1] > 12) next.fields[1] = 1, next.fields[0] += 1;
  } else if (date.num_fields < 6) {
    return to_seconds(date, reckoning) + kLengths[date.num_fields - 3];
  }
  return to_seconds(next, reckoning);
}

}  // namespace

DecodedTimes decode_times(const std::vector<double>& values, std::string_view units,
                          std::string_view calendar, const std::string& place) {
  const Reckoning reckoning = parse_calendar(calendar, place);
  const std::string lower_units = lower(stripped(units));
  std::function<double(double)> decode;
  if (lower_units == "day as %y%m%d.%f") {
    decode = [&](double v) { return from_digits(v, reckoning, place); };
  } else {
    const std::string_view since = " since ";
    const std::size_t at = lower(units).find(since);
    std::optional<TimeUnit> unit;
    std::optional<Date> reference;
    if (at != std::string::npos) {
      unit = find_unit(lower(stripped(units.substr(0, at))));
      reference = parse_date(units.substr(at + since.size()));
    }
    if (!unit || !reference || !exists(*reference, reckoning)) {
      throw DataError(
          fmt::format("{}: time units \"{}\", expected \"hours since 1900-01-01\" or alike with "
                      "nanoseconds to years and a date of the calendar",
                      place, units));
    }
    if (unit->months > 0 && reckoning.calendar == Calendar::days_360) {
      unit = TimeUnit{"month", unit->months * 30 * kDay};
    }
    if (unit->months > 0) {
      decode = [=, &place](double v) {
        return months_later(*reference, v * unit->months, reckoning, place);
      };
    } else {
      const double origin = to_seconds(*reference, reckoning);
      decode = [=](double v) { return to_millisecond(origin + v * unit->seconds); };
    }
  }
  DecodedTimes out{std::vector<double>(values.size()), reckoning.calendar};
  std::ranges::transform(values, out.times.begin(), [&](double v) {
    if (!std::isfinite(v)) return std::numeric_limits<double>::quiet_NaN();
    const double time = decode(v);
    // Ten thousand years from now: further away, days are no longer counted exactly.
    if (!(std::abs(time) < 3.2e11)) {
      throw DataError(
          fmt::format("{}: time {} in \"{}\" is beyond all calendars", place, v, units));
    }
    return time;
  });
  return out;
}

TimeRange parse_time_range(std::string_view text, Calendar calendar) {
  constexpr double kForever = std::numeric_limits<double>::infinity();
  const Reckoning reckoning{calendar};
  const std::size_t dots = text.find("..");
  const std::string_view first = stripped(text.substr(0, dots));
  const std::string_view last =
      dots == std::string_view::npos ? first : stripped(text.substr(dots + 2));
  const auto parse = [&](std::string_view part) {
    const std::optional<Date> date = parse_date(part);
    if (!date || !exists(*date, reckoning)) {
      throw ConfigError(
          fmt::format("times \"{}\": \"{}\" is not a date, expected for example "
                      "2019-03-01..2019-03-20 or 2019-03-01T06",
                      text, part));
    }
    return *date;
  };
  TimeRange range{-kForever, kForever};
  if (!first.empty()) range.first = to_seconds(parse(first), reckoning);
  if (!last.empty()) {
    const Date date = parse(last);
    range.last = date.num_fields == 6 ? to_seconds(date, reckoning)
                                      : std::nextafter(end_of(date, reckoning), -kForever);
  }
  if (first.empty() && last.empty()) {
    throw ConfigError(fmt::format("times \"{}\": both ends are missing", text));
  }
  if (range.first > range.last) {
    throw ConfigError(fmt::format("times \"{}\": ends before it begins", text));
  }
  return range;
}

}  // namespace trib::io
