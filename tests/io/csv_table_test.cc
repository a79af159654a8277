#include "io/csv_table.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CsvTableTest : public testing::Test {
 protected:
  CsvTable table(const std::string& text) const {
    std::ofstream(temp_.file("t.csv")) << text;
    return CsvTable(temp_.file("t.csv"));
  }
  template <class Action>
  static std::string message(Action&& action) {
    try {
      action();
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  test::TempDir temp_;
};

TEST_F(CsvTableTest, ReadsFieldsByColumn) {
  const CsvTable rows = table(
      "\xEF\xBB\xBFpath,x,label\r\n"
      "\"a, \"\"b\"\".tif\", 1.5,3\r\n"
      "\r\n"
      "c.tif,+2e1,0\n");
  ASSERT_EQ(rows.rows(), 2u);
  EXPECT_EQ(rows.text(0, "path"), "a, \"b\".tif");
  EXPECT_EQ(rows.number(0, "x"), 1.5);
  EXPECT_EQ(rows.number(1, "x"), 20);
  EXPECT_EQ(rows.label(0, "label"), 3);
  EXPECT_EQ(rows.integer(1, "label"), 0);
  EXPECT_TRUE(rows.has("x"));
  EXPECT_FALSE(rows.has("y"));
  EXPECT_THAT(rows.place(1), HasSubstr("t.csv:4"));
}

TEST_F(CsvTableTest, NamesThePlaceOfWhatIsWrong) {
  EXPECT_THAT(message([&] { table("a,b\n1\n"); }), HasSubstr("t.csv:2: expected 2 columns"));
  const CsvTable rows = table("a,b\n1,nan\n2,3x\n,-1\n");
  EXPECT_THAT(message([&] { rows.require("c"); }), HasSubstr("no column 'c' in 'a,b'"));
  EXPECT_THAT(message([&] { rows.number(0, "b"); }), HasSubstr("t.csv:2"));
  EXPECT_THAT(message([&] { rows.number(1, "b"); }), HasSubstr("found '3x'"));
  EXPECT_THAT(message([&] { rows.integer(2, "a"); }), HasSubstr("found ''"));
  EXPECT_THAT(message([&] { rows.label(2, "b"); }), HasSubstr("found '-1'"));
  EXPECT_THAT(message([&] { CsvTable(temp_.file("absent.csv")); }), HasSubstr("cannot be read"));
}

TEST(CsvLine, IsSplitAtCommas) {
  EXPECT_THAT(split_csv_line("a,,\"b,c\",d\r"), ElementsAre("a", "", "b,c", "d"));
}

TEST_F(CsvTableTest, TakesNamesOfColumnsAsPeopleWriteThem) {
  const CsvTable rows = table(" Path , LABEL\na.tif,1\n");
  EXPECT_EQ(rows.text(0, "path"), "a.tif");
  EXPECT_EQ(rows.label(0, "label"), 1);
  EXPECT_THAT(message([&] { table("path;label\na.tif;1\n").require("path"); }),
              HasSubstr("columns are parted by commas"));
}

}  // namespace
}  // namespace trib::io
