#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "ops/base/error.h"
#include "tests/pipeline/stage_testing.h"

namespace trib::pipeline {
namespace {

using ::testing::HasSubstr;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr const char* kEverything =
    "{flip: true, turn: true, resized_crop: [12, 12], resample: bicubic, rand_augment: 3, "
    "magnitude: 20, noise: 0.1, channel_dropout: 0.2, cutout: 2, cutout_size: [3, 4]}";

std::vector<std::string> names(std::int64_t count) {
  std::vector<std::string> list;
  for (std::int64_t c = 0; c < count; ++c) list.push_back(fmt::format("c{}", c));
  return list;
}

StreamInfo normalised(std::vector<std::string> channels, io::Extent extent,
                      std::vector<std::string> targets = {}) {
  StreamInfo info = stream_of(std::move(channels), extent, std::move(targets));
  info.statistics = std::make_shared<ChannelStatistics>();
  return info;
}

// Every pixel tells where it lies, missing ones apart.
Sample sample_of(std::int64_t channels, std::int64_t height, std::int64_t width,
                 std::int64_t targets = 0) {
  const auto value = [](std::int64_t c, std::int64_t y, std::int64_t x) {
    return (y * 7 + x * 3 + c) % 11 == 0 ? kMissing : std::sin(1.3 * y + 0.7 * x + c);
  };
  Sample sample;
  sample.x_cyx = image_of(channels, height, width, value);
  if (targets > 0) sample.target_vyx = image_of(targets, height, width, value);
  sample.provenance.file = "field.tif";
  sample.provenance.window = {100, 200, height, width};
  sample.provenance.geo = std::make_shared<io::GeoReference>();
  return sample;
}

std::unique_ptr<TransformStage> augment(const std::string& yaml, const StreamInfo& input) {
  auto stage = make_stage<TransformStage>("augment", yaml);
  stage->prepare(input);
  return stage;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() &&
         (a.numel() == 0 || std::memcmp(a.data<float>(), b.data<float>(), a.nbytes()) == 0);
}

std::string refusal(const std::string& yaml, const StreamInfo& input) {
  try {
    augment(yaml, input);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Augment, WithoutOperationsNothingChanges) {
  const auto stage = augment("{}", stream_of(names(2), {8, 9}));
  const Sample sample = sample_of(2, 8, 9, 1);
  const Sample result = apply(*stage, sample)[0];
  EXPECT_TRUE(same(result.x_cyx, sample.x_cyx));
  EXPECT_TRUE(same(result.target_vyx, sample.target_vyx));
  EXPECT_NE(result.provenance.geo, nullptr);
}

TEST(Augment, HeldOutSamplesStayAsTheyAre) {
  const auto stage = augment(kEverything, normalised(names(3), {12, 12}));
  const Sample sample = sample_of(3, 12, 12);
  const Sample result = apply(*stage, sample, Split::eval)[0];
  EXPECT_TRUE(same(result.x_cyx, sample.x_cyx));
  EXPECT_NE(result.provenance.geo, nullptr);
  // Those of another size are cut in their middle, always alike.
  const Sample wide = apply(*stage, sample_of(3, 24, 40), Split::eval)[0];
  EXPECT_EQ(wide.x_cyx.shape(), (Shape{3, 12, 12}));
  EXPECT_EQ(wide.provenance.window, (io::Window{100, 208, 24, 24}));
}

TEST(Augment, SamplesDifferByEpochItemAndPieceAndRepeat) {
  const auto stage = augment(kEverything, normalised(names(3), {16, 16}));
  const Sample sample = sample_of(3, 16, 16);
  std::vector<Tensor> seen;
  for (const SampleRequest& request :
       {SampleRequest{0, 0, 0, 0, 0}, SampleRequest{0, 1, 0, 0, 0}, SampleRequest{0, 0, 1, 0, 0},
        SampleRequest{0, 0, 0, 1, 0}, SampleRequest{0, 0, 0, 0, 1}}) {
    std::vector<Sample> first, again;
    stage->apply(sample, Split::train, {&request, 1}, first);
    SampleRequest elsewhere = request;
    elsewhere.position = 99;  // by other ranks
    stage->apply(sample, Split::train, {&elsewhere, 1}, again);
    EXPECT_TRUE(same(first[0].x_cyx, again[0].x_cyx));
    for (const Tensor& other : seen) EXPECT_FALSE(same(first[0].x_cyx, other));
    seen.push_back(first[0].x_cyx);
  }
  // What came in is others' too.
  EXPECT_TRUE(same(sample.x_cyx, sample_of(3, 16, 16).x_cyx));
}

// All that is decided about a sample is decided without its pixels.
TEST(Augment, RanksThatShareTheChannelsMakeTheSameOfThem) {
  constexpr std::int64_t kChannels = 8;
  const Sample sample = sample_of(kChannels, 16, 16, kChannels);
  const StreamInfo info = normalised(names(kChannels), {16, 16}, names(kChannels));
  const auto whole = augment(kEverything, info);
  for (const std::int64_t ranks : {2, 4}) {
    for (std::int64_t epoch = 0; epoch < 12; ++epoch) {
      const Sample expected = apply(*whole, sample, Split::train, 1, epoch)[0];
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const std::int64_t begin = rank * kChannels / ranks, end = (rank + 1) * kChannels / ranks;
        ChannelNames own;
        for (std::int64_t c = begin; c < end; ++c) own.channels.push_back(fmt::format("c{}", c));
        own.targets = own.channels;
        const auto part = augment(kEverything, info);
        part->keep(own);
        Sample input = sample;
        input.x_cyx = sample.x_cyx.slice(0, begin, end).clone(MemoryKind::ingest);
        input.target_vyx = sample.target_vyx.slice(0, begin, end).clone(MemoryKind::ingest);
        const Sample result = apply(*part, input, Split::train, 1, epoch)[0];
        EXPECT_TRUE(same(result.x_cyx, expected.x_cyx.slice(0, begin, end).contiguous()));
        EXPECT_TRUE(same(result.target_vyx, expected.target_vyx.slice(0, begin, end).contiguous()));
        EXPECT_EQ(result.provenance.window, expected.provenance.window);
      }
    }
  }
  // A rank may own none.
  const auto none = augment(kEverything, info);
  none->keep({});
  Sample input = sample;
  input.x_cyx = sample.x_cyx.slice(0, 0, 0).clone(MemoryKind::ingest);
  input.target_vyx = {};
  EXPECT_EQ(apply(*none, input)[0].x_cyx.shape(), (Shape{0, 12, 12}));
}

TEST(Augment, TargetsMoveWithTheImageAndKeepTheirValues) {
  const auto stage = augment("{flip: true, turn: true, rand_augment: 2, fill: missing}",
                             normalised(names(2), {10, 10}, names(2)));
  const Sample sample = sample_of(2, 10, 10, 2);
  const auto moves = augment(
      "{flip: true, turn: true, rand_augment: 2, operations: [translate_x, translate_y, rotate, "
      "shear_x, shear_y]}",
      normalised(names(2), {10, 10}, names(2)));
  int moved = 0;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    const Sample result = apply(*moves, sample, Split::train, 1, epoch)[0];
    EXPECT_TRUE(same(result.x_cyx, result.target_vyx));  // the image is its own target here
    moved += same(result.x_cyx, sample.x_cyx) ? 0 : 1;
    EXPECT_EQ(result.provenance.geo == nullptr, !same(result.x_cyx, sample.x_cyx));
  }
  EXPECT_GT(moved, 15);
  const auto tones = augment(
      "{rand_augment: 2, operations: [brightness, contrast], noise: 0.1, cutout: 1, cutout_size: "
      "4}",
      normalised(names(2), {10, 10}, names(2)));
  const Sample result = apply(*tones, sample)[0];
  EXPECT_TRUE(same(result.target_vyx, sample.target_vyx));
  EXPECT_FALSE(same(result.x_cyx, sample.x_cyx));
  EXPECT_NE(result.provenance.geo, nullptr);
}

TEST(Augment, AllEightOrientationsComeUp) {
  const auto square = augment("{flip: horizontal, turn: true}", stream_of(names(1), {6, 6}));
  const auto wide = augment("{flip: true, turn: true}", stream_of(names(1), {6, 9}));
  std::set<std::vector<float>> of_square, of_wide;
  const auto place = [](std::int64_t, std::int64_t y, std::int64_t x) { return 10.0 * y + x; };
  for (std::int64_t epoch = 0; epoch < 80; ++epoch) {
    Sample sample;
    sample.x_cyx = image_of(1, 6, 6, place);
    of_square.insert(values_of(apply(*square, sample, Split::train, 1, epoch)[0].x_cyx));
    sample.x_cyx = image_of(1, 6, 9, place);
    const Tensor turned = apply(*wide, sample, Split::train, 1, epoch)[0].x_cyx;
    EXPECT_EQ(turned.shape(), (Shape{1, 6, 9}));
    of_wide.insert(values_of(turned));
  }
  EXPECT_EQ(of_square.size(), 8U);
  EXPECT_EQ(of_wide.size(), 4U);
}

// The boxes of torchvision's RandomResizedCrop.
TEST(Augment, ResizedCropsHaveTheWantedScaleAndRatio) {
  const auto stage =
      augment("{resized_crop: 8, crop_scale: [0.25, 0.5]}", stream_of(names(1), {60, 90}));
  EXPECT_EQ(stage->output_extent({60, 90}), (io::Extent{8, 8}));
  std::set<std::pair<std::int64_t, std::int64_t>> corners;
  for (std::int64_t epoch = 0; epoch < 300; ++epoch) {
    const Sample result = apply(*stage, sample_of(1, 60, 90), Split::train, 1, epoch)[0];
    ASSERT_EQ(result.x_cyx.shape(), (Shape{1, 8, 8}));
    const io::Window& w = result.provenance.window;
    ASSERT_TRUE(w.y >= 100 && w.x >= 200 && w.y + w.height <= 160 && w.x + w.width <= 290);
    const auto area = static_cast<double>(w.height * w.width) / (60 * 90);
    EXPECT_GT(area, 0.24);
    EXPECT_LT(area, 0.52);
    const auto ratio = static_cast<double>(w.width) / static_cast<double>(w.height);
    EXPECT_GT(ratio, 0.72);
    EXPECT_LT(ratio, 1.38);
    corners.emplace(w.y, w.x);
    EXPECT_EQ(result.provenance.geo, nullptr);
  }
  EXPECT_GT(corners.size(), 200U);
  // No box of these fits a strip: its middle is taken.
  const Sample strip = apply(*stage, sample_of(1, 4, 100), Split::train)[0];
  EXPECT_EQ(strip.provenance.window, (io::Window{100, 247, 4, 5}));
}

TEST(Augment, CutoutFillsRectangles) {
  for (const std::string fill : {"zero", "missing"}) {
    const auto stage = augment("{cutout: 1, cutout_size: [4, 6], fill: " + fill + "}",
                               normalised(names(2), {20, 30}));
    std::int64_t largest = 0, least = 1000;
    for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
      Sample sample;
      sample.x_cyx = image_of(2, 20, 30, [](auto...) { return 1.0; });
      const std::vector<float> values =
          values_of(apply(*stage, sample, Split::train, 1, epoch)[0].x_cyx);
      const auto filled = [&](float v) { return fill == "zero" ? v == 0 : std::isnan(v); };
      const auto first = std::count_if(values.begin(), values.begin() + 600, filled);
      EXPECT_EQ(first, std::count_if(values.begin() + 600, values.end(), filled));
      largest = std::max<std::int64_t>(largest, first);
      least = std::min<std::int64_t>(least, first);
    }
    EXPECT_EQ(largest, 24);
    EXPECT_GE(least, 2 * 3);
    EXPECT_LT(least, 24);
  }
}

TEST(Augment, DroppedChannelsAreWholeAndNeverAll) {
  const auto stage = augment("{channel_dropout: 0.6}", stream_of(names(3), {4, 4}));
  std::map<std::int64_t, int> dropped;
  for (std::int64_t epoch = 0; epoch < 300; ++epoch) {
    Sample sample;
    sample.x_cyx = image_of(3, 4, 4, [](auto...) { return 1.0; });
    const std::vector<float> values =
        values_of(apply(*stage, sample, Split::train, 1, epoch)[0].x_cyx);
    std::int64_t missing = 0;
    for (std::size_t c = 0; c < 3; ++c) {
      const auto count = std::count_if(values.begin() + static_cast<std::ptrdiff_t>(16 * c),
                                       values.begin() + static_cast<std::ptrdiff_t>(16 * c + 16),
                                       [](float v) { return std::isnan(v); });
      EXPECT_TRUE(count == 0 || count == 16);
      missing += count / 16;
    }
    ++dropped[missing];
  }
  EXPECT_EQ(dropped.size(), 3U);  // none, one, two
}

TEST(Augment, OnGridsPixelsStayWhereTheyAreExceptAround) {
  StreamInfo globe = normalised(names(2), {4, 8});
  globe.grid = std::make_shared<io::LatLonGrid>(
      io::LatLonGrid{{-60, -20, 20, 60}, {0, 45, 90, 135, 180, 225, 270, 315}});
  for (const char* yaml :
       {"{flip: true}", "{turn: true}", "{resized_crop: 4}", "{rand_augment: 1}"}) {
    EXPECT_THAT(refusal(yaml, globe), HasSubstr("latitude-longitude grid")) << yaml;
  }
  EXPECT_EQ(refusal("{rand_augment: 1, operations: [contrast, identity], cutout: 2}", globe), "");
  const auto roll = make_stage<TransformStage>("augment", "{roll: true}");
  const StreamInfo rolled = roll->prepare(globe);
  EXPECT_EQ(rolled.grid->latitudes, globe.grid->latitudes);
  EXPECT_TRUE(std::isnan(rolled.grid->longitudes[3]));
  std::set<std::vector<float>> seen;
  for (std::int64_t epoch = 0; epoch < 100; ++epoch) {
    Sample sample;
    sample.x_cyx = image_of(1, 4, 8, [](auto, auto y, auto x) { return 10.0 * y + x; });
    std::vector<float> values = values_of(apply(*roll, sample, Split::train, 1, epoch)[0].x_cyx);
    const auto first = static_cast<std::ptrdiff_t>(values[0]);
    for (std::ptrdiff_t row = 0; row < 4; ++row) {
      for (std::ptrdiff_t x = 0; x < 8; ++x) {
        EXPECT_EQ(values[static_cast<std::size_t>(8 * row + x)], 10 * row + (first + x) % 8);
      }
    }
    seen.insert(std::move(values));
  }
  EXPECT_EQ(seen.size(), 8U);
  // Stages that need the longitudes do not take rolled fields.
  const auto forcings = make_stage<TransformStage>("forcings", "");
  EXPECT_THROW(forcings->prepare(rolled), ConfigError);
  const auto regrid = make_stage<TransformStage>("regrid", "");
  EXPECT_THROW(regrid->prepare(rolled), Error);
  globe.grid = std::make_shared<io::LatLonGrid>(
      io::LatLonGrid{{-60, -20, 20, 60}, {0, 5, 10, 15, 20, 25, 30, 35}});
  EXPECT_THAT(refusal("{roll: true}", globe), HasSubstr("all around the globe"));
  EXPECT_THAT(refusal("{roll: true}", stream_of(names(1), {4, 8})), HasSubstr("roll: needs"));
}

TEST(Augment, WishesThatMakeNoSenseAreRefused) {
  const StreamInfo raw = stream_of(names(2), {8, 8});
  EXPECT_THAT(refusal("{fill: zero}", raw), HasSubstr("fill: zero stands for the mean"));
  EXPECT_THAT(refusal("{rand_augment: 2}", raw), HasSubstr("range: say which values"));
  EXPECT_EQ(refusal("{rand_augment: 2, range: [0, 10000]}", raw), "");
  EXPECT_EQ(refusal("{rand_augment: 2, operations: [rotate, contrast]}", raw), "");
  EXPECT_THAT(refusal("{operations: [rotat]}", raw), HasSubstr("there is no 'rotat'"));
  EXPECT_THAT(refusal("{flip: diagonal}", raw), HasSubstr("found 'diagonal'"));
  EXPECT_THAT(refusal("{range: [1, 1]}", raw), HasSubstr("black and white are the same"));
  EXPECT_THAT(refusal("{crop_scale: [0.9, 0.1]}", raw), HasSubstr("two ascending numbers"));
}

}  // namespace
}  // namespace trib::pipeline
