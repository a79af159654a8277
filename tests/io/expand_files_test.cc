#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/image_source.h"
#include "ops/base/error.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ExpandFiles : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"a/x1.tif", "a/x2.tif", "a/.hidden.tif", "b/x1.tif", "b/c/x3.tif",
                             "b/y.jpg", "top.tif", "odd[1].tif"}) {
      const std::filesystem::path file = root_ + name;
      std::filesystem::create_directories(file.parent_path());
      std::ofstream(file) << "x";
    }
    std::filesystem::create_directories(root_ + "folder.tif");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  /// Matches of patterns below the test's folder, relative to it.
  std::vector<std::string> expand(std::vector<std::string> patterns) const {
    for (std::string& pattern : patterns) pattern = root_ + pattern;
    std::vector<std::string> files = expand_files(patterns);
    for (std::string& file : files) {
      EXPECT_TRUE(file.starts_with(root_)) << file;
      file.erase(0, root_.size());
    }
    return files;
  }

  std::string message(const std::vector<std::string>& patterns) const {
    try {
      expand(patterns);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }

  std::string root_ = testing::TempDir() + "expand_files_" +
                      testing::UnitTest::GetInstance()->current_test_info()->name() + "/";
};

TEST_F(ExpandFiles, MatchesShellWildcards) {
  EXPECT_THAT(expand({"a/*.tif"}), ElementsAre("a/x1.tif", "a/x2.tif"));
  EXPECT_THAT(expand({"*/x?.tif"}), ElementsAre("a/x1.tif", "a/x2.tif", "b/x1.tif"));
  EXPECT_THAT(expand({"a/x[2-9].tif"}), ElementsAre("a/x2.tif"));
  EXPECT_THAT(expand({"a/x[!2].tif"}), ElementsAre("a/x1.tif"));
  EXPECT_THAT(expand({"{a,b}/x1.tif"}), ElementsAre("a/x1.tif", "b/x1.tif"));
  EXPECT_THAT(expand({"b/{y.jpg,{c/x3,x1}.tif}"}),
              ElementsAre("b/c/x3.tif", "b/x1.tif", "b/y.jpg"));
  EXPECT_THAT(expand({"**/x*.tif"}), ElementsAre("a/x1.tif", "a/x2.tif", "b/c/x3.tif", "b/x1.tif"));
}

TEST_F(ExpandFiles, SortsAndDropsDuplicatesOverAllPatterns) {
  EXPECT_THAT(expand({"b/*.tif", "top.tif", "a/x2.tif", "*/x1.tif"}),
              ElementsAre("a/x1.tif", "a/x2.tif", "b/x1.tif", "top.tif"));
}

TEST_F(ExpandFiles, TakesFilesOnlyAndNamesLiterally) {
  EXPECT_THAT(expand({"*.tif"}), ElementsAre("odd[1].tif", "top.tif"));
  EXPECT_THAT(expand({"odd[1].tif"}), ElementsAre("odd[1].tif"));
}

TEST_F(ExpandFiles, TakesFoldersThatAreOneRaster) {
  std::filesystem::create_directories(root_ + "cube.zarr");
  EXPECT_THAT(message({"cube.zarr"}), HasSubstr("it is a folder; name the files in it"));
  std::ofstream(root_ + "cube.zarr/.zgroup") << "{}";
  EXPECT_THAT(expand({"cube.zarr"}), ElementsAre("cube.zarr"));
  EXPECT_THAT(expand({"*.zarr"}), ElementsAre("cube.zarr"));
}

TEST_F(ExpandFiles, KeepsNamesOfPartsOfFiles) {
  EXPECT_THAT(expand_files({"NETCDF:\"x.nc\":t2m"}), ElementsAre("NETCDF:\"x.nc\":t2m"));
}

// Of those that are not to be touched nothing says whether they are there.
TEST_F(ExpandFiles, TakesSomeNamesWithoutALook) {
  const std::string lost = root_ + "lost.tif";
  EXPECT_THAT(expand_files({lost, root_ + "t*.tif"}, {lost}), ElementsAre(lost, root_ + "top.tif"));
  EXPECT_THROW(expand_files({lost}, {root_ + "top.tif"}), DataError);
  EXPECT_THROW(expand_files({root_ + "l*.tif"}, {root_ + "l*.tif"}), DataError);
}

TEST_F(ExpandFiles, SaysWhichPatternAndWhichFolder) {
  EXPECT_THAT(message({"a/*.tif", "a/*.png"}), HasSubstr("a/*.png' matches no file"));
  EXPECT_THAT(message({"a/*.png"}), testing::Not(HasSubstr("no folder")));
  EXPECT_THAT(message({"absent/deep/*.tif"}),
              HasSubstr("there is no folder '" + root_ + "absent/deep'"));
  EXPECT_THAT(message({"folder.tif"}), HasSubstr("matches no file"));
  EXPECT_THAT(expand_files({}), IsEmpty());
}

TEST_F(ExpandFiles, LooksIntoZipArchives) {
  TRIB_NEEDS_DATA("satellite/eurosat_rgb_3000.zip");
  const std::string zip = "/vsizip/" + test::data_file("satellite/eurosat_rgb_3000.zip");
  const std::vector<std::string> all = expand_files({zip + "/*/*.jpg"});
  EXPECT_EQ(all.size(), 3000u);
  EXPECT_EQ(all, expand_files({zip + "/**/*.jpg"}));
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  EXPECT_EQ(expand_files({zip + "/{River,Forest}/*.jpg"}).size(), 600u);
  EXPECT_THAT(expand_files({zip + "/River/River_11.jpg"}),
              ElementsAre(zip + "/River/River_11.jpg"));
  EXPECT_THROW(expand_files({zip + "/*/*.tif"}), DataError);
}

}  // namespace
}  // namespace trib::io
