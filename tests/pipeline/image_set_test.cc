// Sampling of image sets through read.raster, on files made here.
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "pipeline/stage/no_sample.h"
#include "tests/pipeline/stage_testing.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

using testing::HasSubstr;

constexpr std::int16_t kNone = -1;

class ImageSetTest : public testing::Test {
 protected:
  /// An ENVI file of 16-bit numbers; -1 is missing. With `utm` its pixels are 10 m wide from
  /// 500000 E, 4000000 N in zone 32.
  template <class Value>
  void write(const std::string& name, std::int64_t bands, std::int64_t height, std::int64_t width,
             Value&& value, bool utm = false) const {
    std::ofstream header(temp_.file(name + ".hdr"));
    header << fmt::format(
        "ENVI\nsamples = {}\nlines = {}\nbands = {}\nheader offset = 0\ndata type = 2\n"
        "interleave = bsq\nbyte order = 0\ndata ignore value = -1\n",
        width, height, bands);
    if (utm) {
      header << "map info = {UTM, 1, 1, 500000, 4000000, 10, 10, 32, North, WGS-84}\n";
    }
    std::ofstream pixels(temp_.file(name + ".img"), std::ios::binary);
    for (std::int64_t c = 0; c < bands; ++c) {
      for (std::int64_t y = 0; y < height; ++y) {
        for (std::int64_t x = 0; x < width; ++x) {
          const auto number = static_cast<std::int16_t>(value(c, y, x));
          pixels.write(reinterpret_cast<const char*>(&number), sizeof(number));
        }
      }
    }
  }
  void write_table(const std::string& name, const std::string& text) const {
    std::ofstream(temp_.file(name)) << text;
  }

  std::unique_ptr<SourceStage> open(const std::string& parameters,
                                    const std::string& files = "*.img") const {
    auto stage = make_stage<SourceStage>(
        "read.raster", fmt::format("{{files: '{}', {}}}", temp_.file(files), parameters));
    info_ = stage->prepare();
    return stage;
  }
  std::unique_ptr<SourceStage> open_kept(const std::string& parameters,
                                         std::vector<std::string> channels) const {
    auto stage = open(parameters);
    stage->keep({std::move(channels), {}});
    return stage;
  }

  static Sample read(const SourceStage& stage, std::int64_t item, std::int64_t epoch = 0) {
    return stage.read(Split::train, {static_cast<std::uint64_t>(item), epoch, 0, item, 0}, {});
  }

  template <class Expected, class Action>
  static std::string message(Action&& action) {
    try {
      action();
    } catch (const Expected& error) {
      return error.what();
    }
    return "";
  }

  test::TempDir temp_;
  mutable StreamInfo info_;
};

double place(std::int64_t c, std::int64_t y, std::int64_t x) {
  return static_cast<double>(10000 * c + 100 * y + x);
}

TEST_F(ImageSetTest, ReadsTheWindowsOfAGridAndNothingElse) {
  write("a", 2, 20, 30, place);
  const auto stage = open("sampling: grid, size: [8, 10], overlap: [2, 0]");
  EXPECT_EQ(info_.extent, (io::Extent{8, 10}));
  ASSERT_EQ(stage->items(Split::train), 3 * 3);
  const Sample sample = read(*stage, 5);
  EXPECT_EQ(sample.provenance.window, (io::Window{6, 20, 8, 10}));
  EXPECT_EQ(values_of(sample.x_cyx),
            values_of(image_of(2, 8, 10, [](std::int64_t c, std::int64_t y, std::int64_t x) {
              return place(c, y + 6, x + 20);
            })));
  EXPECT_EQ(stage->bytes_decoded(), 2 * 8 * 10 * 2);
  EXPECT_THAT(stage->describe(Split::train, 5), HasSubstr("rows 6..13, columns 20..29"));
}

TEST_F(ImageSetTest, DrawsWindowsAgainUntilEnoughPixelsAreValid) {
  // Valid in the right half only.
  write("a", 2, 40, 40,
        [](std::int64_t, std::int64_t, std::int64_t x) { return x < 20 ? kNone : x; });
  const auto stage = open("sampling: random, size: 8, per_image: 100, min_valid: 0.9");
  std::set<std::int64_t> columns;
  for (std::int64_t i = 0; i < 100; ++i) {
    const std::int64_t x = read(*stage, i).provenance.window.x;
    EXPECT_GE(x, 20);
    columns.insert(x);
  }
  EXPECT_GE(columns.size(), 10u);
  // Without the wish they lie anywhere.
  const auto any = open("sampling: random, size: 8, per_image: 100");
  int left = 0;
  for (std::int64_t i = 0; i < 100; ++i) left += read(*any, i).provenance.window.x < 20 ? 1 : 0;
  EXPECT_GE(left, 30);
}

TEST_F(ImageSetTest, LeavesOutWindowsWithTooFewValidPixels) {
  write("a", 1, 8, 16,
        [](std::int64_t, std::int64_t, std::int64_t x) { return x < 6 ? kNone : x; });
  const auto stage = open("sampling: grid, size: 8, min_valid: 0.5");
  ASSERT_EQ(stage->items(Split::train), 2);
  EXPECT_THAT(message<NoSample>([&] { read(*stage, 0); }), HasSubstr("a.img"));
  EXPECT_EQ(read(*stage, 1).provenance.window.x, 8);
  const auto random = open("sampling: random, size: 8, min_valid: 1", "a.img");
  int left_out = 0;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    try {
      EXPECT_GE(read(*random, 0, epoch).provenance.window.x, 6);
    } catch (const NoSample&) {
      ++left_out;
    }
  }
  EXPECT_LT(left_out, 10);
}

TEST_F(ImageSetTest, JudgesAlikeOnRanksWithOtherChannels) {
  // The first channel misses the left half, the second the right one.
  write("a", 3, 40, 40, [](std::int64_t c, std::int64_t, std::int64_t x) {
    return (c == 0 && x < 20) || (c == 1 && x >= 20) ? kNone : x;
  });
  const char* const wish = "sampling: random, size: 8, per_image: 40, min_valid: 0.9";
  const auto all = open_kept(wish, {"B01", "B02", "B03"});
  const auto second = open_kept(wish, {"B02"});
  const auto none = open_kept(wish, {});
  for (std::int64_t i = 0; i < 40; ++i) {
    const Sample expected = read(*all, i);
    EXPECT_EQ(read(*second, i).provenance.window, expected.provenance.window);
    EXPECT_EQ(read(*none, i).provenance.window, expected.provenance.window);
    EXPECT_TRUE(std::isnan(values_of(read(*second, i).x_cyx)[0]));
  }
}

TEST_F(ImageSetTest, ReadsListedWindows) {
  write("a", 1, 20, 30, place);
  write("b", 1, 20, 30, [](auto, auto y, auto x) { return 5000 + place(0, y, x); });
  write_table("windows.csv", "path,y,x,height,width,label\nb.img,2,3,4,5,7\na.img,0,0,4,5,1\n");
  const auto table =
      open(fmt::format("sampling: windows, windows: '{}'", temp_.file("windows.csv")));
  ASSERT_EQ(table->items(Split::train), 2);
  EXPECT_EQ(values_of(read(*table, 0).x_cyx)[0], 5203);
  EXPECT_EQ(read(*table, 0).provenance.label, 7);
  EXPECT_EQ(info_.extent, (io::Extent{4, 5}));
  EXPECT_TRUE(info_.extents_agree);

  const auto texts = open("sampling: windows, windows: ['1,2,3,4', 'b.img, 5, 6, 7, 8']");
  ASSERT_EQ(texts->items(Split::train), 3);
  EXPECT_EQ(read(*texts, 1).provenance.window, (io::Window{1, 2, 3, 4}));
  EXPECT_EQ(read(*texts, 2).provenance.window, (io::Window{5, 6, 7, 8}));
  EXPECT_FALSE(info_.extents_agree);

  EXPECT_THAT(message<DataError>([&] { open("sampling: windows, windows: 'a.img,0,0,21,5'"); }),
              AllOf(HasSubstr("does not lie in"), HasSubstr("rows 0..19")));
  EXPECT_THAT(message<DataError>([&] { open("sampling: windows, windows: 'c.img,0,0,2,5'"); }),
              HasSubstr("no image is read from a file 'c.img'"));
  EXPECT_THAT(message<ConfigError>([&] { open("sampling: windows, windows: '0,0,2'"); }),
              HasSubstr("found '0,0,2'"));
  EXPECT_THAT(message<DataError>(
                  [&] { open("sampling: windows, windows: '9e18,0,9223372036854775807,4'"); }),
              HasSubstr("does not lie in"));
}

TEST_F(ImageSetTest, ReadsWindowsAroundPoints) {
  write("a", 1, 20, 30, place, true);
  const auto pixels = open("sampling: points, size: 5, points: ['10,7', '0,19']");
  EXPECT_EQ(read(*pixels, 0).provenance.window, (io::Window{5, 8, 5, 5}));
  EXPECT_EQ(values_of(read(*pixels, 0).x_cyx)[12], 710);  // the middle one
  EXPECT_EQ(read(*pixels, 1).provenance.window, (io::Window{15, 0, 5, 5}));

  // The middle of row 7, column 10, in metres and in degrees (by osgeo.osr).
  write_table("utm.csv", "x,y,crs,label\n500105,3999925,EPSG:32632,3\n400000,0,EPSG:32632,4\n");
  const auto metres =
      open(fmt::format("sampling: points, size: 5, points: '{}'", temp_.file("utm.csv")));
  ASSERT_EQ(metres->items(Split::train), 1);
  EXPECT_EQ(read(*metres, 0).provenance.window, (io::Window{5, 8, 5, 5}));
  EXPECT_EQ(read(*metres, 0).provenance.label, 3);
  write_table("degrees.csv", "path,lon,lat\na.img,9.001167141,36.144041914\n");
  const auto degrees =
      open(fmt::format("sampling: points, size: 5, points: '{}'", temp_.file("degrees.csv")));
  EXPECT_EQ(read(*degrees, 0).provenance.window, (io::Window{5, 8, 5, 5}));

  write_table("far.csv", "path,lon,lat\na.img,9.1,36.1\n");
  EXPECT_THAT(message<DataError>([&] {
                open(fmt::format("sampling: points, size: 5, points: '{}'", temp_.file("far.csv")));
              }),
              HasSubstr("far.csv:2: the point 9.1, 36.1 does not lie in 'a.img'"));
  EXPECT_THAT(message<DataError>([&] { open("sampling: points, size: 5, points: '30,2'"); }),
              HasSubstr("does not lie"));
}

TEST_F(ImageSetTest, StratifiesByFolders) {
  const auto in_folder = [&](const std::string& folder, int count) {
    std::filesystem::create_directory(temp_.file(folder));
    for (int i = 0; i < count; ++i) write(fmt::format("{}/{}", folder, i), 1, 4, 4, place);
  };
  in_folder("forest", 6);
  in_folder("lake", 2);
  auto stage = open("label_from: folder, stratify: true", "*/*.img");
  std::map<std::int32_t, int> count;
  for (std::int64_t i = 0; i < stage->items(Split::train); ++i) {
    ++count[read(*stage, i).provenance.label];
  }
  EXPECT_THAT(count, testing::ElementsAre(testing::Pair(0, 4), testing::Pair(1, 4)));
}

TEST_F(ImageSetTest, RefusesParametersOfAnotherSampling) {
  write("a", 1, 20, 30, place);
  const auto refused = [&](const char* parameters) {
    return message<ConfigError>([&] { open(parameters); });
  };
  EXPECT_THAT(refused("size: 4"), HasSubstr("size: has no meaning with sampling: whole"));
  EXPECT_THAT(refused("sampling: grid"), HasSubstr("size: is needed with sampling: grid"));
  EXPECT_THAT(refused("sampling: grid, size: 4, per_image: 3"), HasSubstr("per_image"));
  EXPECT_THAT(refused("sampling: grid, size: 4, overlap: 4"), HasSubstr("leaves nothing"));
  EXPECT_THAT(refused("sampling: grid, size: 4, overlap: 1, stride: 2"), HasSubstr("not both"));
  EXPECT_THAT(refused("sampling: random, size: 4, classes: [1]"), HasSubstr("stratify"));
}

}  // namespace
}  // namespace trib::pipeline
