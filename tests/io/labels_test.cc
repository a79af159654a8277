#include "io/labels.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void write_table(const test::TempDir& folder, const std::string& text) {
  std::ofstream(folder.file("labels.csv")) << text;
}

std::string message(const std::string& table, const std::vector<std::string>& files) {
  const test::TempDir folder;
  write_table(folder, table);
  try {
    labels_from_table(folder.file("labels.csv"), files);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Labels, AreIndicesOfTheSortedFolderNames) {
  const std::vector<std::string> files = {"d/River/1.jpg", "d/Forest/1.jpg", "e/River/2.jpg",
                                          "d/Lake/3.jpg"};
  EXPECT_THAT(folder_classes(files), ElementsAre("Forest", "Lake", "River"));
  EXPECT_THAT(labels_from_folders(files), ElementsAre(2, 0, 2, 1));
}

TEST(Labels, AreLookedUpByTheLongestEndOfThePath) {
  const test::TempDir folder;
  write_table(folder,
              "class,label,path\r\n"
              "River,8,River/1.jpg\r\n"
              "\"Lake, small\",3,1.jpg\r\n"
              "Sea,9,/abs/2.jpg\r\n");
  EXPECT_THAT(labels_from_table(folder.file("labels.csv"),
                                {"data/River/1.jpg", "x/1.jpg", "1.jpg", "/abs/2.jpg"}),
              ElementsAre(8, 3, 3, 9));
}

TEST(Labels, RejectBrokenTables) {
  EXPECT_THAT(message("path,class\na,1\n", {"a"}), HasSubstr("no column 'label'"));
  EXPECT_THAT(message("path,label\na,river\n", {"a"}), HasSubstr("labels.csv:2: expected a label"));
  EXPECT_THAT(message("path,label\na,-1\n", {"a"}), HasSubstr("found '-1'"));
  EXPECT_THAT(message("path,label\na\n", {"a"}), HasSubstr("expected 2 columns, found 1"));
  EXPECT_THAT(message("path,label\na,1\na,2\n", {"a"}), HasSubstr("label 2 here and 1 above"));
  EXPECT_THAT(message("path,label\na,1\n", {"b/c"}), HasSubstr("b/c: has no label"));
  EXPECT_THROW(labels_from_table("/absent.csv", {"a"}), DataError);
}

}  // namespace
}  // namespace trib::io
