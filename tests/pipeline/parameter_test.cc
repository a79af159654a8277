#include "pipeline/graph/parameter.h"

#include <clocale>
#include <string>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/graph/bind_parameters.h"
#include "pipeline/graph/scalar_text.h"

namespace trib::pipeline::test {
namespace {

std::string error_of(const ParameterSpec& spec, const std::string& value) {
  try {
    parameters_from_text({spec}, "{p: " + value + "}");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ScalarText, ReadsNumbersInAnyLocale) {
  // Whether or not this locale is installed, the comma must never become the decimal sign.
  const char* const german = std::setlocale(LC_ALL, "de_DE.UTF-8");
  EXPECT_EQ(parse_number("1.5"), 1.5);
  EXPECT_EQ(parse_number("1,5"), std::nullopt);
  EXPECT_EQ(parse_duration("1.5h"), 5400.0);
  EXPECT_EQ(number_text(0.5), "0.5");
  std::setlocale(LC_ALL, "C");
  RecordProperty("de_DE.UTF-8", german != nullptr ? "installed" : "absent");
}

TEST(ScalarText, ReadsNumbers) {
  EXPECT_EQ(parse_integer("-12"), -12);
  EXPECT_EQ(parse_integer("+12"), 12);
  EXPECT_EQ(parse_integer("9223372036854775807"), 9223372036854775807);
  EXPECT_EQ(parse_number("1.5e-4"), 1.5e-4);
  EXPECT_EQ(parse_number("+.5"), 0.5);
  for (const char* text : {"", "1.5", "0x10", "12a", " 1", "9223372036854775808", "+-1", "1_000"}) {
    EXPECT_EQ(parse_integer(text), std::nullopt) << text;
  }
  for (const char* text : {"", "nan", ".nan", "inf", "-inf", "1e400", "1.5x", "+-1", "e5"}) {
    EXPECT_EQ(parse_number(text), std::nullopt) << text;
  }
}

TEST(ScalarText, ReadsDurations) {
  EXPECT_EQ(parse_duration("6h"), 21600.0);
  EXPECT_EQ(parse_duration("90m"), 5400.0);
  EXPECT_EQ(parse_duration("1h30m"), 5400.0);
  EXPECT_EQ(parse_duration("2d"), 172800.0);
  EXPECT_EQ(parse_duration("250ms"), 0.25);
  for (const char* text : {"", "6", "h", "6 h", "-6h", "6x", "6h5", "1e3s", "nanh"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(ScalarText, ReadsBytes) {
  EXPECT_EQ(parse_bytes("4096"), 4096);
  EXPECT_EQ(parse_bytes("512MB"), 512'000'000);
  EXPECT_EQ(parse_bytes("1.5 gb"), 1'500'000'000);
  EXPECT_EQ(parse_bytes("1GiB"), 1073741824);
  for (const char* text : {"", "MB", "-1MB", "1MB5", "1PB", "99999999999GB", "inf"}) {
    EXPECT_EQ(parse_bytes(text), std::nullopt) << text;
  }
}

TEST(ScalarText, WritesNumbersShortAndExact) {
  EXPECT_EQ(number_text(1000000), "1000000");
  EXPECT_EQ(number_text(-3), "-3");
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(1.5e-4), "0.00015");
  EXPECT_EQ(number_text(1e300), "1e+300");
}

TEST(Parameters, SayWhatTheyExpect) {
  const auto integer = param::integer("p", "").between(1, 8);
  EXPECT_EQ(error_of(integer, "9"),
            "parameters:1:5: key 'p' is '9'; expected an integer from 1 to 8");
  EXPECT_EQ(error_of(integer, "[1]"),
            "parameters:1:5: key 'p' is a list; expected an integer from 1 to 8");
  EXPECT_EQ(error_of(integer, "99999999999999999999"),
            "parameters:1:5: key 'p' is '99999999999999999999'; expected an integer from 1 to 8 "
            "that fits in 64 bits");
  EXPECT_EQ(error_of(param::number("p", "").above(0), ".nan"),
            "parameters:1:5: key 'p' is '.nan'; expected a number above 0");
  EXPECT_EQ(error_of(param::number("p", "").above(0), "0"),
            "parameters:1:5: key 'p' is '0'; expected a number above 0");
  EXPECT_EQ(error_of(param::number("p", "").at_most(1), "1.5"),
            "parameters:1:5: key 'p' is '1.5'; expected a number of at most 1");
  EXPECT_EQ(error_of(param::boolean("p", ""), "yes"),
            "parameters:1:5: key 'p' is 'yes'; expected true or false");
  EXPECT_EQ(error_of(param::duration("p", "").at_least(60), "1s"),
            "parameters:1:5: key 'p' is '1s'; expected a duration such as 6h, 90m or 45s of at "
            "least 60 seconds");
  EXPECT_EQ(error_of(param::bytes("p", ""), "much"),
            "parameters:1:5: key 'p' is 'much'; expected a number of bytes such as 512MB or 1GiB");
  EXPECT_EQ(error_of(param::size("p", ""), "[1, 2, 3]"),
            "parameters:1:5: key 'p' is a list of 3; expected [height, width] of at least 1");
  EXPECT_EQ(error_of(param::size("p", ""), "[1, 0]"),
            "parameters:1:9: key 'p' is '0'; expected [height, width] of at least 1");
  EXPECT_EQ(error_of(param::strings("p", ""), "[a, [b]]"),
            "parameters:1:9: key 'p' is a list; expected text or a list of text");
  EXPECT_EQ(error_of(param::numbers("p", ""), "[1, x]"),
            "parameters:1:9: key 'p' is 'x'; expected a list of numbers");
  EXPECT_EQ(error_of(param::string("p", "").mandatory(), "null"),
            "parameters:1:1: key 'p' is missing; expected text");
}

TEST(Parameters, ReadScalarsAsListsAndSquares) {
  const ParameterValues values = parameters_from_text(
      {param::strings("files", ""), param::numbers("scale", ""), param::size("size", ""),
       param::string("text", ""), param::integer("quoted", "")},
      "{files: a.h5, scale: 2, size: 32, text: 1.50, quoted: \"7\"}");
  EXPECT_EQ(values.strings("files"), std::vector<std::string>{"a.h5"});
  EXPECT_EQ(values.numbers("scale"), std::vector<double>{2});
  EXPECT_EQ(values.size("size"), (SizeValue{32, 32}));
  EXPECT_EQ(values.string("text"), "1.50");
  EXPECT_EQ(values.integer("quoted"), 7);
}

TEST(Parameters, KnowWhetherTheyWereGiven) {
  const ParameterValues values =
      parameters_from_text({param::integer("given", ""), param::integer("fallback", "").or_else(3),
                            param::integer("absent", ""), param::integer("unset", "").or_else(4)},
                           "{given: 1, unset: null}");
  EXPECT_TRUE(values.has("given") && values.was_given("given"));
  EXPECT_TRUE(values.has("fallback") && !values.was_given("fallback"));
  EXPECT_FALSE(values.has("absent"));
  EXPECT_EQ(values.integer("unset"), 4);
  EXPECT_EQ(values.origin("given").text(), "parameters:1:9");
  EXPECT_EQ(values.origin("fallback").text(), "default");
  EXPECT_EQ(values.origin("absent").text(), "not given");
  EXPECT_EQ(values.mark("fallback").text(), "parameters:1:1");
}

TEST(Parameters, MistakesOfTheProgramAreRuntimeErrors) {
  const ParameterValues values = parameters_from_text(
      {param::integer("dim", "").or_else(1), param::integer("none", "")}, "{}");
  EXPECT_THROW(values.integer("dmi"), RuntimeError);
  EXPECT_THROW(values.has("dmi"), RuntimeError);
  EXPECT_THROW(values.number("dim"), RuntimeError);
  EXPECT_THROW(values.bytes("dim"), RuntimeError);
  EXPECT_THROW(values.integer("none"), RuntimeError);
  EXPECT_THROW(default_value(param::integer("dim", "").or_else("many")), RuntimeError);
  EXPECT_THROW(default_value(param::integer("dim", "").at_least(1).or_else(0)), RuntimeError);
  EXPECT_THROW(default_value(param::size("size", "").or_else("[1, 2")), RuntimeError);
}

}  // namespace
}  // namespace trib::pipeline::test
