#include "io/raster/raster_files.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/io/raster_fixture.h"

namespace trib::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RasterFilesTest : public RasterTest {
 protected:
  void touch(const std::string& name) const {
    std::filesystem::create_directories(std::filesystem::path(temp_.file(name)).parent_path());
    std::ofstream(temp_.file(name)) << "x";
  }
  void table(const std::string& name, const std::string& text) const {
    touch(name);
    std::ofstream(temp_.file(name)) << text;
  }
  template <class Expected, class Action>
  static std::string refusal(Action&& action) {
    try {
      action();
    } catch (const Expected& error) {
      return error.what();
    }
    return "";
  }
};

std::vector<ListedFile> listed(const std::vector<std::string>& paths) {
  std::vector<ListedFile> files;
  for (const std::string& path : paths) files.push_back({path, -1});
  return files;
}

TEST_F(RasterFilesTest, TablesListFilesBesideThemselvesWithLabels) {
  touch("a.tif");
  table("set/train.csv", "label,path\n3,../b.tif\n1,c/d.tif\n");
  const auto files = list_files({temp_.file("a.tif"), temp_.file("set/train.csv")});
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0].path, temp_.file("a.tif"));
  EXPECT_EQ(files[0].label, -1);
  EXPECT_EQ(files[1].path, temp_.file("set/../b.tif"));
  EXPECT_EQ(files[1].label, 3);
  EXPECT_EQ(files[2].label, 1);
}

TEST_F(RasterFilesTest, RejectsBrokenTables) {
  const auto refused = [&](const std::string& text) {
    table("t.csv", text);
    return refusal<DataError>([&] { list_files({temp_.file("t.csv")}); });
  };
  EXPECT_THAT(refused("file\na.tif\n"), HasSubstr("no column 'path'"));
  EXPECT_THAT(refused("path\n"), HasSubstr("lists no file"));
  EXPECT_THAT(refused("path,label\na,1\na,2\n"), HasSubstr("labels 1 and 2"));
  EXPECT_THAT(refused("path,label\n,1\n"), HasSubstr("t.csv:2: the path is empty"));
}

TEST_F(RasterFilesTest, GroupsFilesByWhatWildcardsMatch) {
  const auto patterns = parse_scene_patterns({"red=*_B04.jp2", "nir=*_B08.jp2"});
  const auto scenes = group_scenes(
      listed({"d/T1_B04.jp2", "d/T1_B08.jp2", "d/T1_SCL.jp2", "e/T1_B08.jp2", "e/T1_B04.jp2"}),
      patterns);
  ASSERT_EQ(scenes.size(), 2u);
  EXPECT_EQ(scenes[0].name, "d/T1");
  EXPECT_EQ(scenes[0].files[0].path, "d/T1_B04.jp2");
  EXPECT_EQ(scenes[0].files[1].path, "d/T1_B08.jp2");
  EXPECT_EQ(scenes[1].files[0].path, "e/T1_B04.jp2");
}

TEST_F(RasterFilesTest, PatternsMayHaveFoldersAndStandInTheMiddle) {
  const auto folders =
      group_scenes(listed({"s/R10m/T1_B02_10m.jp2", "s/R20m/T1_B05_20m.jp2"}),
                   parse_scene_patterns({"B02=R10m/*_B02_10m.jp2", "B05=R20m/*_B05_20m.jp2"}));
  ASSERT_EQ(folders.size(), 1u);
  EXPECT_EQ(folders[0].name, "s/T1");
  const auto landsat = group_scenes(listed({"L8-B1-Elkton.tiff", "L8-B2-Elkton.tiff"}),
                                    parse_scene_patterns({"a=L8-B1-*.tiff", "b=L8-B2-*.tiff"}));
  ASSERT_EQ(landsat.size(), 1u);
}

TEST_F(RasterFilesTest, NamesTheSceneAndTheBandThatIsMissing) {
  const auto patterns = parse_scene_patterns({"red=*_B04.jp2", "nir=*_B08.jp2"});
  EXPECT_THAT(refusal<DataError>([&] { group_scenes(listed({"d/T1_B04.jp2"}), patterns); }),
              HasSubstr("scene 'd/T1': there is no file for band nir ('*_B08.jp2')"));
  EXPECT_THAT(refusal<DataError>([&] {
                group_scenes(listed({"d/R10m/T1_B04.jp2", "d/R20m/T1_B08.jp2"}), patterns);
              }),
              HasSubstr("patterns need their names ('R20m/*_B08.jp2')"));
  EXPECT_EQ(group_scenes(listed({"d/R10m/T1_B04.jp2", "d/R20m/T1_B08.jp2"}),
                         parse_scene_patterns({"red=R10m/*_B04.jp2", "nir=R20m/*_B08.jp2"}))
                .size(),
            1U);
  EXPECT_THAT(refusal<ConfigError>([&] { group_scenes(listed({"d/T1.jp2"}), patterns); }),
              HasSubstr("none of 1 files"));
  EXPECT_THAT(
      refusal<ConfigError>([&] {
        group_scenes(listed({"T1_B04.jp2"}), parse_scene_patterns({"a=*_B04.jp2", "b=T1_*"}));
      }),
      HasSubstr("matches '*_B04.jp2' and 'T1_*'"));
  EXPECT_THAT(refusal<ConfigError>([&] { parse_scene_patterns({"*_B04.jp2"}); }),
              HasSubstr("expected 'NAME=pattern'"));
  EXPECT_THAT(refusal<ConfigError>([&] {
                parse_scene_patterns({"a=x", "a=y"});
              }),
              HasSubstr("'a' is given twice"));
}

TEST_F(RasterFilesTest, StacksTheBandsOfAScene) {
  TestRaster red;
  red.value = [](int, int y, int x) { return 100 * y + x; };
  write("T1_red.tif", red);
  TestRaster nir = red;
  nir.value = [](int, int y, int x) { return 5000 + 100 * y + x; };
  write("T1_nir.tif", nir);
  RasterOptions options = files("*.tif");
  options.bands = {"red=*_red.tif", "nir=*_nir.tif"};
  const auto source = open_raster(options);
  ASSERT_EQ(source->size(), 1);
  ASSERT_EQ(source->channels().size(), 2u);
  EXPECT_EQ(source->channels()[1].name, "nir");
  const Image image = source->read(0, Window{2, 3, 4, 5});
  EXPECT_EQ(at(image, 0, 1, 1), 304);
  EXPECT_EQ(at(image, 1, 1, 1), 5304);
  EXPECT_EQ(image.provenance.window, (Window{2, 3, 4, 5}));
  EXPECT_EQ(image.provenance.file, temp_.file("T1_red.tif"));
  EXPECT_EQ(source->bytes_decoded(), 2 * 4 * 5 * 4);

  options.channels = {"nir"};
  EXPECT_EQ(at(read(options), 0, 0, 0), 5000);
  options.channels = {};
  const auto kept = open_raster(options);
  kept->keep_channels(std::vector<std::int64_t>{1});
  EXPECT_EQ(at(kept->read(0), 0, 0, 1), 5001);
  EXPECT_EQ(kept->bytes_decoded(), 8 * 8 * 4);
}

TEST_F(RasterFilesTest, BringsBandsOfOtherResolutionOntoTheReference) {
  TestRaster fine;
  fine.height = fine.width = 8;
  write("T1_fine.tif", fine);
  TestRaster coarse;
  coarse.height = coarse.width = 4;
  coarse.transform = std::array<double, 6>{500000, 20, 0, 4000000, 0, -20};
  coarse.value = [](int, int y, int x) { return 1000 * y + x; };
  write("T1_coarse.tif", coarse);
  RasterOptions options = files("*.tif");
  options.bands = {"fine=*_fine.tif", "coarse=*_coarse.tif"};
  options.resampling = "nearest";
  const Image image = read(options);
  ASSERT_EQ(image.data_cyx.shape(), (Shape{2, 8, 8}));
  for (std::int64_t y = 0; y < 8; ++y) {
    for (std::int64_t x = 0; x < 8; ++x) {
      EXPECT_EQ(at(image, 0, y, x), 100.0F * static_cast<float>(y) + static_cast<float>(x));
      EXPECT_EQ(at(image, 1, y, x),
                1000.0F * static_cast<float>(y / 2) + static_cast<float>(x / 2));
    }
  }
  options.reference_band = "coarse";
  options.resampling = "average";
  const Image half = read(options);
  ASSERT_EQ(half.data_cyx.shape(), (Shape{2, 4, 4}));
  EXPECT_FLOAT_EQ(at(half, 0, 1, 2), (204 + 205 + 304 + 305) / 4.0F);
  EXPECT_EQ(at(half, 1, 1, 2), 1002);
}

}  // namespace
}  // namespace trib::io
