#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/pipeline/stage_testing.h"

namespace trib::pipeline {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

// Every pixel tells where it lies.
double place(std::int64_t c, std::int64_t y, std::int64_t x) {
  return static_cast<double>(10000 * c + 100 * y + x);
}

Sample sample_of(Tensor image) {
  Sample sample;
  sample.provenance.file = "field.tif";
  sample.provenance.window = {0, 0, image.dim(1), image.dim(2)};
  sample.x_cyx = std::move(image);
  return sample;
}

void expect_cut_from_window(const Sample& piece) {
  const io::Window& window = piece.provenance.window;
  EXPECT_EQ(values_of(piece.x_cyx),
            values_of(image_of(piece.x_cyx.dim(0), window.height, window.width,
                               [&](std::int64_t c, std::int64_t y, std::int64_t x) {
                                 return place(c, window.y + y, window.x + x);
                               })));
}

TEST(Crop, GridCoversTheImageOnce) {
  const auto crop = make_stage<TransformStage>("crop", "{size: [4, 5], mode: grid}");
  crop->prepare(stream_of({"a", "b"}, {8, 11}));
  ASSERT_EQ(crop->pieces(Split::train, {8, 11}), 4);
  std::set<std::pair<std::int64_t, std::int64_t>> corners;
  for (const Sample& piece : apply(*crop, sample_of(image_of(2, 8, 11, place)), Split::train, 4)) {
    expect_cut_from_window(piece);
    corners.emplace(piece.provenance.window.y, piece.provenance.window.x);
  }
  EXPECT_EQ(corners,
            (std::set<std::pair<std::int64_t, std::int64_t>>{{0, 0}, {0, 5}, {4, 0}, {4, 5}}));
}

TEST(Crop, StrideMakesPiecesOverlap) {
  const auto crop = make_stage<TransformStage>("crop", "{size: 4, mode: grid, stride: [2, 3]}");
  EXPECT_EQ(crop->pieces(Split::train, {8, 10}), 3 * 3);
  EXPECT_EQ(crop->pieces(Split::train, {3, 10}), 0);
}

TEST(Crop, RandomPiecesDifferByPieceAndEpoch) {
  const auto crop = make_stage<TransformStage>("crop", "{size: 4, per_image: 8}");
  const Sample sample = sample_of(image_of(1, 40, 50, place));
  std::set<std::pair<std::int64_t, std::int64_t>> corners;
  for (const std::int64_t epoch : {0, 1}) {
    for (const Sample& piece : apply(*crop, sample, Split::train, 8, epoch)) {
      expect_cut_from_window(piece);
      corners.emplace(piece.provenance.window.y, piece.provenance.window.x);
    }
  }
  EXPECT_GE(corners.size(), 14U);
  EXPECT_EQ(apply(*crop, sample, Split::train, 8)[5].provenance.window.x,
            apply(*crop, sample, Split::train, 8)[5].provenance.window.x);
}

TEST(Crop, NoTrainingPieceTouchesTheHeldOutStrip) {
  struct Case {
    std::int64_t height, width;
    const char* yaml;
  };
  for (const Case& c :
       {Case{12, 20, "{size: 4, per_image: 200, holdout: 0.25}"},
        Case{20, 12, "{size: 4, per_image: 200, holdout: 0.25}"},
        Case{12, 20, "{size: 4, mode: grid, stride: 1, holdout: 0.1}"},
        Case{20, 12, "{size: 4, mode: grid, stride: 1, holdout: 0.4, flip: true}"}}) {
    const auto crop = make_stage<TransformStage>("crop", c.yaml);
    crop->prepare(stream_of({"a"}, {c.height, c.width}));
    EXPECT_TRUE(crop->holds_out());
    const Sample sample = sample_of(image_of(1, c.height, c.width, place));
    std::set<std::pair<std::int64_t, std::int64_t>> trained;
    const auto pixels_of = [&](Split split, auto&& visit) {
      const std::int64_t count = crop->pieces(split, {c.height, c.width});
      ASSERT_GT(count, 0) << c.yaml;
      for (const Sample& piece : apply(*crop, sample, split, static_cast<std::int32_t>(count))) {
        for (const float v : values_of(piece.x_cyx)) {
          visit(std::pair<std::int64_t, std::int64_t>(static_cast<std::int64_t>(v) / 100,
                                                      static_cast<std::int64_t>(v) % 100));
        }
      }
    };
    pixels_of(Split::train, [&](auto pixel) { trained.insert(pixel); });
    pixels_of(Split::eval, [&](auto pixel) {
      EXPECT_EQ(trained.count(pixel), 0U) << c.yaml << ": " << pixel.first << ", " << pixel.second;
    });
  }
}

TEST(Crop, MirrorsTrainingPiecesWithTheirTargets) {
  const auto crop = make_stage<TransformStage>("crop", "{size: [4, 6], flip: true}");
  Sample sample = sample_of(image_of(2, 16, 16, place));
  sample.target_vyx = image_of(1, 16, 16, place);
  std::set<std::pair<bool, bool>> seen;
  for (const Sample& piece : apply(*crop, sample, Split::train, 60)) {
    const io::Window& window = piece.provenance.window;
    const std::vector<float> values = values_of(piece.x_cyx);
    const bool rows = values[0] > values[3 * 6], columns = values[0] > values[5];
    seen.emplace(rows, columns);
    const auto mirrored = [&](std::int64_t c, std::int64_t y, std::int64_t x) {
      return place(c, window.y + (rows ? 3 - y : y), window.x + (columns ? 5 - x : x));
    };
    EXPECT_EQ(values, values_of(image_of(2, 4, 6, mirrored)));
    EXPECT_EQ(values_of(piece.target_vyx), values_of(image_of(1, 4, 6, mirrored)));
  }
  EXPECT_EQ(seen.size(), 4U);
  for (const Sample& piece : apply(*crop, sample, Split::eval, 20)) expect_cut_from_window(piece);
}

TEST(Crop, DrawsAgainWhereTooMuchIsMissing) {
  const auto crop = make_stage<TransformStage>("crop", "{size: 4, max_missing: 0.2}");
  const Sample half = sample_of(image_of(
      1, 20, 40, [](auto c, auto y, auto x) { return x < 20 ? kMissing : place(c, y, x); }));
  for (const Sample& piece : apply(*crop, half, Split::train, 50)) {
    EXPECT_GE(piece.provenance.window.x, 20);
  }
  const Sample empty = sample_of(image_of(1, 20, 40, [](auto, auto, auto) { return kMissing; }));
  EXPECT_THROW(apply(*crop, empty), DataError);
}

TEST(Crop, RefusesWhatDoesNotFit) {
  const auto large = make_stage<TransformStage>("crop", "{size: 33}");
  EXPECT_THROW(large->prepare(stream_of({"a"}, {32, 64})), ConfigError);
  const auto held_out = make_stage<TransformStage>("crop", "{size: 32, holdout: 0.1}");
  EXPECT_THROW(held_out->prepare(stream_of({"a"}, {32, 60})), ConfigError);
  StreamInfo globe = stream_of({"a"}, {32, 64});
  globe.grid = std::make_shared<io::LatLonGrid>();
  EXPECT_THROW(make_stage<TransformStage>("crop", "{size: 8, flip: true}")->prepare(globe),
               ConfigError);
}

}  // namespace
}  // namespace trib::pipeline
