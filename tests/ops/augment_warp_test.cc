#include <algorithm>

#include "ops/image/orientation.h"
#include "ops/image/warp.h"
#include "tests/ops/image_testing.h"

namespace trib::ops {
namespace {

using test::at;

std::vector<double> plainly_warped(const Tensor& image, const AffineMap& map, double outside) {
  const std::int64_t height = image.dim(1), width = image.dim(2);
  const double cy = 0.5 * static_cast<double>(height - 1);
  const double cx = 0.5 * static_cast<double>(width - 1);
  std::vector<double> result;
  for (std::int64_t c = 0; c < image.dim(0); ++c) {
    for (std::int64_t oy = 0; oy < height; ++oy) {
      for (std::int64_t ox = 0; ox < width; ++ox) {
        const double dx = static_cast<double>(ox) - cx, dy = static_cast<double>(oy) - cy;
        const double x = map.xx * dx + map.xy * dy + map.x0 + cx;
        const double y = map.yx * dx + map.yy * dy + map.y0 + cy;
        double sum = 0, valid = 0, inside = 0;
        for (std::int64_t v = 0; v < height; ++v) {
          const double wy = 1 - std::abs(y - static_cast<double>(v));
          if (wy <= 0) continue;
          for (std::int64_t u = 0; u < width; ++u) {
            const double wx = 1 - std::abs(x - static_cast<double>(u));
            if (wx <= 0) continue;
            inside += wy * wx;
            if (std::isnan(at(image, c, v, u))) continue;
            valid += wy * wx;
            sum += wy * wx * at(image, c, v, u);
          }
        }
        result.push_back(inside < 0.5           ? outside
                         : valid < 0.5 * inside ? std::nan("")
                                                : sum / valid);
      }
    }
  }
  return result;
}

TEST(Warped, IsWhatTheDefinitionSays) {
  for (const double missing : {0.0, 0.15}) {
    const Tensor image = test::random_image(2, 17, 22, missing);
    for (const AffineMap& map :
         {AffineMap{}, AffineMap::rotation(17), AffineMap::shear(0.2, 0), AffineMap::shear(0, -0.3),
          AffineMap::translation(2.3, -1.6), AffineMap::translation(1000, 5e12),
          AffineMap::rotation(-31).then(AffineMap::translation(3, 1))}) {
      for (const float outside : {0.0F, test::kNoValue}) {
        test::expect_near(warped(image, map, outside), plainly_warped(image, map, outside), 1e-4);
      }
    }
  }
}

TEST(Warped, KnowsTheDirections) {
  const Tensor image = test::random_image(1, 9, 9);
  const Tensor moved = warped(image, AffineMap::translation(2, 1), 0);
  EXPECT_EQ(at(moved, 0, 4, 5), at(image, 0, 3, 3));
  EXPECT_EQ(at(moved, 0, 0, 5), 0);
  EXPECT_EQ(at(moved, 0, 4, 1), 0);
  // A quarter turn by the angle is the exact one.
  const Tensor turned = warped(image, AffineMap::rotation(90), 0);
  const Tensor exact = oriented(image, Orientation{}.turned(1));
  for (std::int64_t i = 0; i < 81; ++i) {
    EXPECT_NEAR(turned.data<float>()[i], exact.data<float>()[i], 1e-5);
  }
  // Below the centre to the right.
  const Tensor sheared = warped(image, AffineMap::shear(1, 0), 0);
  EXPECT_NEAR(at(sheared, 0, 6, 5), at(image, 0, 6, 3), 1e-5);
  EXPECT_NEAR(at(sheared, 0, 4, 5), at(image, 0, 4, 5), 1e-5);
}

TEST(Warped, MapsFollowOneAnother) {
  // Smooth, so that resampling twice is close to resampling once.
  Tensor image = Tensor::empty({1, 40, 40});
  for (std::int64_t y = 0; y < 40; ++y) {
    for (std::int64_t x = 0; x < 40; ++x) {
      image.data<float>()[40 * y + x] = static_cast<float>(std::sin(0.05 * static_cast<double>(x)) +
                                                           0.01 * static_cast<double>(y * y) / 40);
    }
  }
  const AffineMap first = AffineMap::rotation(20), next = AffineMap::shear(0.2, 0);
  const Tensor twice = warped(warped(image, first, 0), next, 0);
  const Tensor once = warped(image, first.then(next), 0);
  for (std::int64_t y = 10; y < 30; ++y) {
    for (std::int64_t x = 10; x < 30; ++x) EXPECT_NEAR(at(twice, 0, y, x), at(once, 0, y, x), 1e-3);
  }
}

TEST(Warped, TheIdentityChangesNothing) {
  const Tensor image = test::random_image(2, 9, 8, 0.3);
  EXPECT_TRUE(test::is_same(warped(image, {}, 0), image));
}

}  // namespace
}  // namespace trib::ops
