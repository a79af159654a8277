#include "io/grid/cf_time.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string decoded(double value, const char* units, const char* calendar = "") {
  return format_time(decode_times({value}, units, calendar, "file: time")[0]);
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

TEST(CfTime, RefusesWhatItCannotDecode) {
  EXPECT_THROW(decoded(1, "months since 2000-01-01"), DataError);
  EXPECT_THROW(decoded(1, "hours since"), DataError);
  EXPECT_THROW(decoded(1, ""), DataError);
  EXPECT_THROW(decoded(1, "days since 2000-13-01"), DataError);
  try {
    decoded(1, "days since 2000-01-01", "360_day");
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("file: time: calendar \"360_day\""));
  }
}

TEST(CfTime, RangesIncludeTheirLastPeriod) {
  const auto at = [](const char* units) { return decode_times({0}, units, "", "")[0]; };
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
