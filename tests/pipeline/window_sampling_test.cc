#include "pipeline/stages/window_sampling.h"

#include <cstdlib>
#include <map>
#include <set>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

using Corner = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // image, y, x

WindowSamplingOptions options_for(Sampling sampling, io::Extent size) {
  WindowSamplingOptions options;
  options.sampling = sampling;
  options.size = size;
  options.stride = size;
  return options;
}

WindowSampling sample(const WindowSamplingOptions& options, std::vector<SampledImage> images,
                      std::vector<ListedWindow> listed = {}) {
  return {options, std::move(images), std::move(listed), 11, "scenes"};
}

SampleRequest request_of(std::int64_t item, std::int64_t epoch = 0) {
  return {static_cast<std::uint64_t>(item), epoch, 0, item, 0};
}

std::vector<Corner> corners(const WindowSampling& windows, Split split, std::int64_t epoch = 0) {
  std::vector<Corner> found;
  for (std::int64_t i = 0; i < windows.items(split); ++i) {
    const auto place = windows.place(split, request_of(i, epoch));
    found.emplace_back(place.image, place.window->y, place.window->x);
  }
  return found;
}

template <class Action>
std::string refusal(Action&& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(WindowSampling, GivesWholeImages) {
  const WindowSampling whole =
      sample(options_for(Sampling::whole, {}), {{{4, 5}, 1}, {{4, 5}, 2}, {{6, 5}, 0}});
  EXPECT_EQ(whole.items(Split::train), 3);
  EXPECT_EQ(whole.items(Split::eval), 3);
  EXPECT_FALSE(whole.extents_agree());
  EXPECT_EQ(whole.extent(Split::train, 2), (io::Extent{6, 5}));
  EXPECT_FALSE(whole.place(Split::train, request_of(1)).window);
  EXPECT_EQ(whole.place(Split::train, request_of(1)).label, 2);
}

TEST(WindowSampling, GridCoversEachImageWithWindowsOfTheStride) {
  WindowSamplingOptions options = options_for(Sampling::grid, {4, 4});
  options.stride = {3, 2};
  // 7x8: 2 x 3 windows; 3x9 has room for none; 4x4 for one.
  const WindowSampling grid = sample(options, {{{7, 8}, -1}, {{3, 9}, -1}, {{4, 4}, -1}});
  EXPECT_TRUE(grid.extents_agree());
  EXPECT_THAT(
      corners(grid, Split::train),
      testing::ElementsAre(Corner{0, 0, 0}, Corner{0, 0, 2}, Corner{0, 0, 4}, Corner{0, 3, 0},
                           Corner{0, 3, 2}, Corner{0, 3, 4}, Corner{2, 0, 0}));
  EXPECT_EQ(grid.fixed_place(Split::train, 6)->window, (io::Window{0, 0, 4, 4}));
}

TEST(WindowSampling, RandomWindowsAreAFunctionOfSeedAndRequest) {
  WindowSamplingOptions options = options_for(Sampling::random, {4, 4});
  options.per_image = 20;
  const std::vector<SampledImage> images = {{{40, 50}, -1}, {{30, 30}, -1}};
  const WindowSampling random = sample(options, images);
  ASSERT_EQ(random.items(Split::train), 40);
  const auto first = corners(random, Split::train);
  EXPECT_EQ(first, corners(sample(options, images), Split::train));
  EXPECT_NE(first, corners(random, Split::train, 1));
  EXPECT_NE(first, corners(random, Split::eval));
  EXPECT_NE(first, corners(WindowSampling(options, images, {}, 12, "scenes"), Split::train));
  EXPECT_NE(first, corners(WindowSampling(options, images, {}, 11, "others"), Split::train));
  EXPECT_GE(std::set<Corner>(first.begin(), first.end()).size(), 38u);
  for (std::int64_t i = 0; i < 40; ++i) {
    std::set<std::pair<std::int64_t, std::int64_t>> draws;
    for (std::uint64_t draw = 0; draw < random.draws(); ++draw) {
      const auto place = random.place(Split::train, request_of(i), draw);
      const io::Extent& image = images[static_cast<std::size_t>(i / 20)].extent;
      EXPECT_EQ(place.image, i / 20);
      EXPECT_GE(place.window->y, 0);
      EXPECT_GE(place.window->x, 0);
      EXPECT_LE(place.window->y + 4, image.height);
      EXPECT_LE(place.window->x + 4, image.width);
      draws.emplace(place.window->y, place.window->x);
    }
    EXPECT_GE(draws.size(), 14u);
  }
}

TEST(WindowSampling, RandomWindowsReachAllPlaces) {
  const WindowSampling random = sample(options_for(Sampling::random, {4, 3}), {{{5, 5}, -1}});
  std::set<Corner> seen;
  for (std::int64_t epoch = 0; epoch < 100; ++epoch) {
    seen.insert(corners(random, Split::train, epoch).front());
  }
  EXPECT_EQ(seen.size(), 2u * 3u);
}

TEST(WindowSampling, NeighbourhoodsShareAllPlacesEvenly) {
  WindowSamplingOptions options = options_for(Sampling::random, {2, 2});
  options.by_neighbourhood = true;
  options.per_image = 60;
  // Corners at 0..38 and 0..48: 3 x 4 neighbourhoods of 13 x 12 or 13 places.
  const WindowSampling windows = sample(options, {{{40, 50}, -1}, {{20, 20}, -1}});
  std::map<std::int64_t, std::set<Corner>> corners_of;
  std::set<Corner> all;
  for (std::int64_t epoch = 0; epoch < 1000; ++epoch) {
    const auto drawn = corners(windows, Split::train, epoch);
    for (std::int64_t item = 0; item < 60; ++item) {
      corners_of[windows.neighbourhood(Split::train, item)].insert(
          drawn[static_cast<std::size_t>(item)]);
    }
    all.insert(drawn.begin(), drawn.begin() + 60);
  }
  EXPECT_EQ(corners_of.size(), 12U);
  EXPECT_EQ(all.size(), 39U * 49);  // no place is out of reach
  for (const auto& [neighbourhood, places] : corners_of) {
    const auto [image, y, x] = *places.begin();
    for (const auto& [other_image, other_y, other_x] : places) {
      EXPECT_LT(std::abs(other_y - y), 13);
      EXPECT_LT(std::abs(other_x - x), 13);
    }
    EXPECT_GE(places.size(), 13U * 12);
  }
}

TEST(WindowSampling, FewWindowsHaveNoNeighbourhoods) {
  WindowSamplingOptions options = options_for(Sampling::random, {2, 2});
  options.per_image = 23;  // and 12 neighbourhoods
  const WindowSampling anywhere = sample(options, {{{40, 50}, -1}});
  options.by_neighbourhood = true;
  const WindowSampling windows = sample(options, {{{40, 50}, -1}});
  EXPECT_EQ(windows.neighbourhood(Split::train, 22), 0);
  EXPECT_EQ(corners(windows, Split::train), corners(anywhere, Split::train));
}

TEST(WindowSampling, WindowsOfAGridHaveNeighbourhoods) {
  const WindowSampling grid = sample(options_for(Sampling::grid, {2, 2}), {{{64, 64}, -1}});
  std::map<std::int64_t, std::set<Corner>> corners_of;
  for (std::int64_t item = 0; item < grid.items(Split::train); ++item) {
    const auto window = *grid.place(Split::train, request_of(item)).window;
    corners_of[grid.neighbourhood(Split::train, item)].emplace(0, window.y / 16, window.x / 16);
  }
  EXPECT_EQ(corners_of.size(), 16U);
  for (const auto& [neighbourhood, places] : corners_of) EXPECT_EQ(places.size(), 1U);
}

TEST(WindowSampling, HoldsOutImages) {
  WindowSamplingOptions options = options_for(Sampling::grid, {4, 4});
  options.holdout = 0.3;
  const WindowSampling grid = sample(options, std::vector<SampledImage>(10, {{8, 8}, -1}));
  std::set<std::int64_t> train, eval;
  for (const Corner& corner : corners(grid, Split::train)) train.insert(std::get<0>(corner));
  for (const Corner& corner : corners(grid, Split::eval)) eval.insert(std::get<0>(corner));
  EXPECT_EQ(train.size(), 7u);
  EXPECT_EQ(eval.size(), 3u);
  for (const std::int64_t image : eval) EXPECT_EQ(train.count(image), 0u);
}

TEST(WindowSampling, HoldsOutAStripOfEachImage) {
  for (const Sampling sampling : {Sampling::grid, Sampling::random}) {
    WindowSamplingOptions options = options_for(sampling, {4, 4});
    options.stride = {1, 1};
    options.per_image = 200;
    options.holdout = 0.25;
    options.holdout_by_area = true;
    const WindowSampling windows = sample(options, {{{12, 20}, -1}, {{20, 12}, -1}});
    // The last quarter of the longer side: columns 15.. of the first image, rows 15.. of the other.
    const auto expect_apart = [&](Split split, auto&& check) {
      for (const auto& [image, y, x] : corners(windows, split)) check(image == 0 ? x : y);
    };
    expect_apart(Split::train, [](std::int64_t at) { EXPECT_LE(at + 4, 15); });
    expect_apart(Split::eval, [](std::int64_t at) { EXPECT_GE(at, 15); });
  }
  WindowSamplingOptions options = options_for(Sampling::listed, {});
  options.holdout = 0.5;
  options.holdout_by_area = true;
  // The second crosses the border.
  const WindowSampling listed =
      sample(options, {{{8, 20}, -1}}, {{0, {0, 0, 4, 4}}, {0, {0, 8, 4, 4}}, {0, {0, 10, 4, 4}}});
  EXPECT_THAT(corners(listed, Split::train), testing::ElementsAre(Corner{0, 0, 0}));
  EXPECT_THAT(corners(listed, Split::eval), testing::ElementsAre(Corner{0, 0, 10}));
}

TEST(WindowSampling, KeepsTheOrderAndLabelsOfListedWindows) {
  const WindowSampling listed =
      sample(options_for(Sampling::listed, {}), {{{9, 9}, 5}, {{9, 9}, 6}},
             {{1, {2, 3, 4, 4}, 8}, {0, {0, 0, 4, 4}, -1}, {1, {0, 0, 2, 4}, -1}});
  EXPECT_EQ(listed.items(Split::train), 3);
  EXPECT_EQ(listed.place(Split::train, request_of(0)).label, 8);
  EXPECT_EQ(listed.place(Split::train, request_of(1)).label, 5);
  EXPECT_EQ(listed.place(Split::train, request_of(2)).label, 6);
  EXPECT_EQ(listed.extent(Split::train, 2), (io::Extent{2, 4}));
  EXPECT_FALSE(listed.extents_agree());
}

TEST(WindowSampling, StratifiesByTheLabelsOfImages) {
  // 9 images of class 0, 2 of class 4, 1 of class 7.
  std::vector<SampledImage> images(12, {{8, 8}, 0});
  images[3].label = images[8].label = 4;
  images[5].label = 7;
  WindowSamplingOptions options = options_for(Sampling::whole, {});
  options.stratify = true;
  const WindowSampling whole = sample(options, images);
  ASSERT_EQ(whole.items(Split::train), 12);
  std::map<std::int64_t, int> met;
  for (std::int64_t epoch = 0; epoch < 9; ++epoch) {
    std::map<std::int32_t, int> of_class;
    for (std::int64_t i = 0; i < 12; ++i) {
      const auto place = whole.place(Split::train, request_of(i, epoch));
      EXPECT_EQ(place.label, images[static_cast<std::size_t>(place.image)].label);
      ++of_class[place.label];
      ++met[place.image];
    }
    EXPECT_THAT(of_class, testing::ElementsAre(testing::Pair(0, 4), testing::Pair(4, 4),
                                               testing::Pair(7, 4)));
  }
  // 36 samples of each class, evenly over its images.
  for (const auto& [image, times] : met) {
    const std::int32_t label = images[static_cast<std::size_t>(image)].label;
    EXPECT_EQ(times, label == 0 ? 4 : label == 4 ? 18 : 36) << image;
  }
  EXPECT_EQ(met.size(), 12u);
  EXPECT_FALSE(whole.fixed_place(Split::train, 0));
}

TEST(WindowSampling, AsksForEachClassEquallyOftenWhereLabelsLieInside) {
  WindowSamplingOptions options = options_for(Sampling::random, {4, 4});
  options.per_image = 6;
  options.stratify = true;
  options.classes = {1, 2, 5};
  const WindowSampling random = sample(options, std::vector<SampledImage>(4, {{30, 30}, -1}));
  ASSERT_EQ(random.items(Split::train), 24);
  for (std::int64_t image = 0; image < 4; ++image) {
    std::map<std::int32_t, int> wanted;
    for (std::int64_t i = 0; i < 6; ++i) {
      const auto place = random.place(Split::train, request_of(image * 6 + i));
      EXPECT_EQ(place.image, image);
      ++wanted[*place.wanted_class];
    }
    EXPECT_THAT(wanted, testing::ElementsAre(testing::Pair(1, 2), testing::Pair(2, 2),
                                             testing::Pair(5, 2)));
  }
}

TEST(WindowSampling, RefusesWhatCannotBe) {
  using testing::HasSubstr;
  const std::vector<SampledImage> one = {{{8, 9}, -1}};
  EXPECT_THAT(refusal([&] {
                sample(options_for(Sampling::grid, {9, 4}), one);
              }),
              HasSubstr("windows of 9x4 do not fit into an image of 8x9"));
  WindowSamplingOptions options = options_for(Sampling::random, {4, 4});
  options.stratify = true;
  EXPECT_THAT(refusal([&] { sample(options, one); }), HasSubstr("no labels"));
  options = options_for(Sampling::whole, {});
  options.holdout = 0.5;
  EXPECT_THAT(refusal([&] { sample(options, one); }), HasSubstr("keeps all 1 images"));
  options.holdout_by_area = true;
  EXPECT_THAT(refusal([&] { sample(options, one); }), HasSubstr("choose windows"));
  options = options_for(Sampling::random, {6, 6});
  options.holdout = 0.5;
  options.holdout_by_area = true;
  EXPECT_THAT(refusal([&] { sample(options, one); }), HasSubstr("a strip is held out"));
  options = options_for(Sampling::listed, {});
  options.holdout = 0.5;
  options.holdout_by_area = true;
  EXPECT_THAT(refusal([&] {
                sample(options, one, {{0, {0, 0, 8, 9}}});
              }),
              HasSubstr("none of the 1 windows"));
  options = options_for(Sampling::whole, {});
  options.stratify = true;
  EXPECT_THAT(refusal([&] {
                sample(options, {{{8, 8}, 0}, {{8, 9}, 1}});
              }),
              HasSubstr("samples of one size"));
}

}  // namespace
}  // namespace trib::pipeline
