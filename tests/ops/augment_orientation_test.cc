#include "ops/image/orientation.h"
#include "tests/ops/image_testing.h"

namespace trib::ops {
namespace {

using test::at;

TEST(Orientation, AllEightAreWhatTheySay) {
  const Tensor image = test::random_image(2, 19, 35, 0.1);
  for (int o = 0; o < 8; ++o) {
    const Orientation orientation{(o & 4) != 0, (o & 2) != 0, (o & 1) != 0};
    const Tensor result = oriented(image, orientation);
    const std::int64_t height = orientation.transpose ? 35 : 19;
    const std::int64_t width = orientation.transpose ? 19 : 35;
    ASSERT_EQ(result.shape(), (Shape{2, height, width}));
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t fy = orientation.flip_y ? height - 1 - y : y;
        const std::int64_t fx = orientation.flip_x ? width - 1 - x : x;
        const float expected = orientation.transpose ? at(image, 1, fx, fy) : at(image, 1, fy, fx);
        const float found = at(result, 1, y, x);
        ASSERT_TRUE(found == expected || (std::isnan(found) && std::isnan(expected)));
      }
    }
  }
}

// numpy.rot90: the first turn brings the upper right corner to the upper left.
TEST(Orientation, TurnsCounterClockwiseAfterTheMirrors) {
  const Tensor image = test::random_image(1, 4, 6);
  const Tensor turned = oriented(image, Orientation{}.turned(1));
  EXPECT_EQ(at(turned, 0, 0, 0), at(image, 0, 0, 5));
  EXPECT_EQ(at(turned, 0, 5, 0), at(image, 0, 0, 0));
  for (int o = 0; o < 8; ++o) {
    const Orientation first{(o & 4) != 0, (o & 2) != 0, (o & 1) != 0};
    for (int quarters = 0; quarters < 6; ++quarters) {
      EXPECT_TRUE(test::is_same(oriented(image, first.turned(quarters)),
                                oriented(oriented(image, first), Orientation{}.turned(quarters))));
    }
    EXPECT_TRUE(test::is_same(oriented(image, first.flipped(true, false)),
                              oriented(oriented(image, first), {false, true, false})));
  }
  EXPECT_TRUE(Orientation{}.turned(4).is_identity());
}

TEST(Orientation, RollsAroundTheEnd) {
  const Tensor image = test::random_image(2, 3, 5);
  for (const std::int64_t shift : {0, 1, 4, -2, 13}) {
    const Tensor result = rolled(image, shift);
    for (std::int64_t x = 0; x < 5; ++x) {
      EXPECT_EQ(at(result, 1, 2, ((x + shift) % 5 + 5) % 5), at(image, 1, 2, x));
    }
  }
}

}  // namespace
}  // namespace trib::ops
