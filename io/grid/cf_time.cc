#include "io/grid/cf_time.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

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

// Days since 1970-01-01 in the proleptic Gregorian calendar.
double gregorian_days(int year, unsigned month, unsigned day) {
  using namespace std::chrono;
  const sys_days days =
      year_month_day{std::chrono::year{year}, std::chrono::month{month}, std::chrono::day{1}};
  return static_cast<double>(days.time_since_epoch().count()) + (day - 1.0);
}

// Days since 1970-01-01 of a date in the Julian calendar: a leap year every fourth year, and
// 0001-01-01 Julian is 0000-12-30 Gregorian.
double julian_days(int year, unsigned month, unsigned day) {
  static constexpr int kBefore[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  const int y = year - 1;
  const int leap_days = y >= 0 ? y / 4 : (y - 3) / 4;
  const bool leap = year % 4 == 0;
  const int in_year = kBefore[month - 1] + (leap && month > 2 ? 1 : 0) + static_cast<int>(day) - 1;
  return gregorian_days(0, 12, 30) + 365.0 * y + leap_days + in_year;
}

double to_seconds(const Date& date, bool mixed_calendar) {
  const auto& f = date.fields;
  const bool julian = mixed_calendar && (f[0] * 10000 + f[1] * 100 + f[2]) < 15821015;
  const auto days = julian ? julian_days : gregorian_days;
  return days(static_cast<int>(f[0]), static_cast<unsigned>(f[1]), static_cast<unsigned>(f[2])) *
             kDay +
         f[3] * 3600 + f[4] * 60 + f[5] - date.zone_seconds;
}

std::string_view trim(std::string_view text) {
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
  text = trim(text);
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
  text = trim(text);
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

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::optional<double> unit_seconds(std::string_view unit) {
  struct Unit {
    std::string_view name;
    double seconds;
  };
  static constexpr Unit kUnits[] = {{"milliseconds", 1e-3},
                                    {"msec", 1e-3},
                                    {"seconds", 1},
                                    {"second", 1},
                                    {"secs", 1},
                                    {"sec", 1},
                                    {"s", 1},
                                    {"minutes", 60},
                                    {"minute", 60},
                                    {"mins", 60},
                                    {"min", 60},
                                    {"hours", 3600},
                                    {"hour", 3600},
                                    {"hrs", 3600},
                                    {"hr", 3600},
                                    {"h", 3600},
                                    {"days", kDay},
                                    {"day", kDay},
                                    {"d", kDay}};
  for (const Unit& u : kUnits) {
    if (u.name == unit) return u.seconds;
  }
  return std::nullopt;
}

// First moment after the period a date stands for.
double end_of(const Date& date) {
  static constexpr double kLengths[] = {kDay, 3600, 60};
  Date next = date;
  if (date.num_fields == 1) {
    next.fields[0] += 1;
  } else if (date.num_fields == 2) {
    next.fields[1] += 1;
    if (next.fields[1] > 12) next.fields[1] = 1, next.fields[0] += 1;
  } else if (date.num_fields < 6) {
    return to_seconds(date, false) + kLengths[date.num_fields - 3];
  }
  return to_seconds(next, false);
}

}  // namespace

std::vector<double> decode_times(const std::vector<double>& values, std::string_view units,
                                 std::string_view calendar, const std::string& place) {
  const std::string name = lower(calendar);
  const bool mixed = name.empty() || name == "standard" || name == "gregorian";
  if (!mixed && name != "proleptic_gregorian") {
    throw DataError(
        fmt::format("{}: calendar \"{}\" is not supported, expected standard, gregorian "
                    "or proleptic_gregorian",
                    place, calendar));
  }
  const std::string_view since = " since ";
  const std::size_t at = lower(units).find(since);
  std::optional<double> unit;
  std::optional<Date> reference;
  if (at != std::string::npos) {
    unit = unit_seconds(lower(trim(units.substr(0, at))));
    reference = parse_date(units.substr(at + since.size()));
  }
  if (!unit || !reference) {
    throw DataError(
        fmt::format("{}: time units \"{}\", expected \"hours since 1900-01-01\" or "
                    "alike with seconds, minutes or days",
                    place, units));
  }
  const double origin = to_seconds(*reference, mixed);
  std::vector<double> seconds(values.size());
  std::ranges::transform(values, seconds.begin(), [&](double v) {
    // Fractions of hours and days are rounded to the millisecond they were written for.
    return std::round((origin + v * *unit) * 1e3) / 1e3;
  });
  return seconds;
}

std::string format_time(double seconds) {
  if (!std::isfinite(seconds)) return "no time";
  using namespace std::chrono;
  const double whole_days = std::floor(seconds / kDay);
  const year_month_day date{sys_days{days{static_cast<std::int64_t>(whole_days)}}};
  const double in_day = seconds - whole_days * kDay;
  const int minutes = static_cast<int>(in_day / 60);
  const double left = in_day - minutes * 60;
  const std::string tail = left > 0 ? fmt::format(":{:02g}", left) : "";
  return fmt::format("{:04d}-{:02d}-{:02d}T{:02d}:{:02d}{}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     minutes / 60, minutes % 60, tail);
}

TimeRange parse_time_range(std::string_view text) {
  constexpr double kForever = std::numeric_limits<double>::infinity();
  const std::size_t dots = text.find("..");
  const std::string_view first = trim(text.substr(0, dots));
  const std::string_view last =
      dots == std::string_view::npos ? first : trim(text.substr(dots + 2));
  const auto parse = [&](std::string_view part) {
    const std::optional<Date> date = parse_date(part);
    if (!date) {
      throw ConfigError(
          fmt::format("times \"{}\": \"{}\" is not a date, expected for example "
                      "2019-03-01..2019-03-20 or 2019-03-01T06",
                      text, part));
    }
    return *date;
  };
  TimeRange range{-kForever, kForever};
  if (!first.empty()) range.first = to_seconds(parse(first), false);
  if (!last.empty()) {
    const Date date = parse(last);
    range.last =
        date.num_fields == 6 ? to_seconds(date, false) : std::nextafter(end_of(date), -kForever);
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
