#include "io/grid/cf_time.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string decoded(double value, const char* units, const char* calendar = "") {
  const DecodedTimes decoded = decode_times({value}, units, calendar, "file: time");
  return format_time(decoded.times[0], decoded.calendar);
}

TEST(CfTime, DecodesTheUnitsOfTheField) {
  EXPECT_EQ(decoded(1043148, "hours since 1900-01-01 00:00:00.0", "gregorian"),
            "2019-01-01T12:00Z");
  EXPECT_EQ(decoded(0, "seconds since 1970-01-01", "proleptic_gregorian"), "1970-01-01T00:00Z");
  EXPECT_EQ(decoded(-694310400., "seconds since 1970-01-01T00:00:00Z", "GREGORIAN"),
            "1948-01-01T00:00Z");
  EXPECT_EQ(decoded(80566, "days since 1800-01-01"), "2020-08-01T00:00Z");
  EXPECT_EQ(decoded(24, "hours since 1959-01-01"), "1959-01-02T00:00Z");
  EXPECT_EQ(decoded(0.25, "days since 2000-2-29"), "2000-02-29T06:00Z");
  EXPECT_EQ(decoded(90, "minutes since 2000-01-01 00:00 +01:00"), "2000-01-01T00:30Z");
}

TEST(CfTime, MixedCalendarIsJulianBefore1582) {
  // 2001-01-01 of the Julian calendar comes 2000 * 365.25 days after its 0001-01-01, and 13 days
  // after that date of the Gregorian one.
  EXPECT_EQ(decoded(730500 - 13, "days since 0001-01-01", "standard"), "2001-01-01T00:00Z");
  EXPECT_EQ(decoded(730485, "days since 1-1-1 00:00:0.0", "proleptic_gregorian"),
            "2001-01-01T00:00Z");
}

// Values from cftime.num2date of the same calendars.
TEST(CfTime, ModelCalendarsHaveTheirOwnDays) {
  EXPECT_EQ(decoded(59, "days since 2000-01-01", "noleap"), "2000-03-01T00:00Z");
  EXPECT_EQ(decoded(365 * 150 + 58.5, "days since 1850-01-01", "365_day"), "2000-02-28T12:00Z");
  EXPECT_EQ(decoded(59, "days since 2001-01-01", "all_leap"), "2001-02-29T00:00Z");
  EXPECT_EQ(decoded(59, "days since 2000-01-01", "360_day"), "2000-02-30T00:00Z");
  EXPECT_EQ(decoded(-1, "days since 1850-01-01", "360_day"), "1849-12-30T00:00Z");
  EXPECT_EQ(decoded(0.5, "months since 1960-01-01", "360"), "1960-01-16T00:00Z");
  // 2000-01-01 of the Julian calendar.
  EXPECT_EQ(decoded(0, "days since 2000-01-01", "julian"), "2000-01-14T00:00Z");
  EXPECT_EQ(decoded(29, "days since 2000-01-31", "noleap"), "2000-03-01T00:00Z");
}

TEST(CfTime, ModelTimesHaveAGregorianDate) {
  const auto gregorian = [](Calendar calendar, CalendarDate date) {
    return format_time(gregorian_time(calendar, time_of(calendar, date)));
  };
  EXPECT_EQ(gregorian(Calendar::no_leap, {2004, 3, 1, 3600}), "2004-03-01T01:00Z");
  EXPECT_EQ(gregorian(Calendar::days_360, {2001, 2, 30, 0}), "2001-02-28T00:00Z");
  EXPECT_EQ(gregorian(Calendar::days_360, {2001, 12, 30, 0}), "2001-12-30T00:00Z");
  for (const Calendar calendar :
       {Calendar::gregorian, Calendar::no_leap, Calendar::all_leap, Calendar::days_360}) {
    for (double day = -800; day < 1200; day += 0.75) {
      const double time = day * 86400;
      EXPECT_EQ(time_of(calendar, date_of(calendar, time)), time) << name_of(calendar) << day;
    }
  }
  const DayOfYear last =
      day_of_year(Calendar::gregorian, 366 * 86400.0 - 43200 + 2 * 365 * 86400.0);
  EXPECT_EQ(last.days, 365.5);  // noon of 1972-12-31
  EXPECT_EQ(last.year_length, 366);
}

TEST(CfTime, MonthsAndYearsAreThoseOfTheCalendar) {
  EXPECT_EQ(decoded(14, "months since 2000-01-15 06:00"), "2001-03-15T06:00Z");
  EXPECT_EQ(decoded(-1, "months since 2000-01-01"), "1999-12-01T00:00Z");
  EXPECT_EQ(decoded(20, "years since 1850-01-01", "noleap"), "1870-01-01T00:00Z");
  EXPECT_EQ(decoded(2, "common_years since 1999-01-01"), "2000-12-31T00:00Z");
  EXPECT_THROW(decoded(0.5, "months since 2000-01-01"), DataError);
  EXPECT_THROW(decoded(1, "months since 2000-01-31"), DataError);
}

TEST(CfTime, OtherWaysToWriteTimes) {
  EXPECT_EQ(decoded(20190301.25, "day as %Y%m%d.%f"), "2019-03-01T06:00Z");
  EXPECT_THROW(decoded(20190231, "day as %Y%m%d.%f"), DataError);
  EXPECT_EQ(decoded(1.5e18, "nanoseconds since 1970-01-01"), "2017-07-14T02:40Z");
  EXPECT_EQ(decoded(2, "weeks since 2000-01-01"), "2000-01-15T00:00Z");
  EXPECT_EQ(decoded(-657073, "days since 1800-01-01 00:00:0.0"), "0000-12-30T00:00Z");
}

TEST(CfTime, RefusesWhatItCannotDecode) {
  EXPECT_THROW(decoded(1, "fortnights since 2000-01-01"), DataError);
  EXPECT_THROW(decoded(1, "hours since"), DataError);
  EXPECT_THROW(decoded(1, ""), DataError);
  EXPECT_THROW(decoded(1, "days since 2000-13-01"), DataError);
  EXPECT_THROW(decoded(1, "days since 2001-02-29", "noleap"), DataError);
  EXPECT_THROW(decoded(1e300, "days since 2000-01-01"), DataError);
  EXPECT_THROW(decoded(1e20, "months since 2000-01-01"), DataError);
  try {
    decoded(1, "days since 2000-01-01", "lunar");
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("file: time: calendar \"lunar\""));
  }
}

TEST(CfTime, RangesIncludeTheirLastPeriod) {
  const auto at = [](const char* units) { return decode_times({0}, units, "", "").times[0]; };
  const TimeRange days = parse_time_range("2019-03-01..2019-03-20");
  EXPECT_TRUE(days.contains(at("s since 2019-03-01")));
  EXPECT_TRUE(days.contains(at("s since 2019-03-20 23:00")));
  EXPECT_FALSE(days.contains(at("s since 2019-03-21")));
  EXPECT_FALSE(days.contains(at("s since 2019-02-28 23:59:59")));

  const TimeRange december = parse_time_range("2019-12");
  EXPECT_TRUE(december.contains(at("s since 2019-12-31 18:00")));
  EXPECT_FALSE(december.contains(at("s since 2020-01-01")));

  const TimeRange open = parse_time_range("..2019-03-01T06");
  EXPECT_TRUE(open.contains(at("s since 1850-01-01")));
  EXPECT_TRUE(open.contains(at("s since 2019-03-01 06:30")));
  EXPECT_FALSE(open.contains(at("s since 2019-03-01 07:00")));

  EXPECT_THROW(parse_time_range("yesterday"), ConfigError);
  EXPECT_THROW(parse_time_range(".."), ConfigError);
  EXPECT_THROW(parse_time_range("2020..2019"), ConfigError);
}

}  // namespace
}  // namespace trib::io
