#include "model/masking.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace trib::model {
namespace {

TEST(Masking, KeepsTheShareThatMaeKeeps) {
  EXPECT_EQ(visible_tokens(196, 0.75), 49);
  EXPECT_EQ(visible_tokens(10, 0.75), 2);
  EXPECT_EQ(visible_tokens(100, 0.9), 9);  // int(100 * (1 - 0.9)) is 9 in double
}

Masking masks_of(std::uint64_t seed, const std::vector<std::uint64_t>& keys, std::int64_t tokens,
                 std::int64_t visible) {
  Masking masking;
  draw_masks(masking, seed, keys, tokens, visible);
  return masking;
}

TEST(Masking, RestoresWhatItShuffled) {
  const std::int64_t tokens = 12, visible = 5;
  const Masking masking = masks_of(3, {8, 9}, tokens, visible);
  ASSERT_EQ(masking.visible.size(), 2U * 5);
  ASSERT_EQ(masking.ids_restore.size(), 2U * 12);
  for (std::size_t b = 0; b < 2; ++b) {
    const std::int32_t* restore = masking.ids_restore.data() + b * 12;
    EXPECT_EQ(std::set<std::int32_t>(restore, restore + 12).size(), 12U);
    for (std::size_t j = 0; j < 5; ++j) {
      const auto token = static_cast<std::size_t>(masking.visible[b * 5 + j]);
      EXPECT_EQ(restore[token], static_cast<std::int32_t>(j));
    }
  }
}

TEST(Masking, BelongsToSeedAndSampleKey) {
  const auto visible_of = [](std::uint64_t seed, const std::vector<std::uint64_t>& keys,
                             std::size_t sample) {
    const Masking masking = masks_of(seed, keys, 64, 16);
    const auto begin = masking.visible.begin() + static_cast<std::ptrdiff_t>(sample * 16);
    return std::vector<std::int32_t>(begin, begin + 16);
  };
  const auto mask = visible_of(3, {5, 6, 7}, 2);
  EXPECT_EQ(mask, visible_of(3, {7}, 0));  // whatever batch, whatever place in it
  EXPECT_NE(mask, visible_of(4, {7}, 0));
  EXPECT_NE(mask, visible_of(3, {8}, 0));
}

TEST(Masking, WritesOverAnEarlierOne) {
  Masking masking = masks_of(5, {1, 2, 3, 4}, 30, 20);
  const std::int32_t* memory = masking.visible.data();
  draw_masks(masking, 3, {8, 9}, 12, 5);
  const Masking expected = masks_of(3, {8, 9}, 12, 5);
  EXPECT_EQ(masking.visible, expected.visible);
  EXPECT_EQ(masking.ids_restore, expected.ids_restore);
  EXPECT_EQ(masking.num_visible, 5);
  EXPECT_EQ(masking.visible.data(), memory);
}

TEST(Masking, ShowsEveryTokenEquallyOften) {
  std::vector<std::uint64_t> keys(4000);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = i;
  const Masking masking = masks_of(1, keys, 8, 2);
  std::vector<int> seen(8);
  for (const std::int32_t token : masking.visible) ++seen[static_cast<std::size_t>(token)];
  for (const int count : seen) EXPECT_NEAR(count, 1000, 130);  // more than four deviations
}

}  // namespace
}  // namespace trib::model
