#include <algorithm>
#include <array>

#include "ops/image/resize.h"
#include "tests/ops/image_testing.h"

namespace trib::ops {
namespace {

using test::at;

// The definition, pixel by pixel in two dimensions at once.
class PlainResize {
 public:
  PlainResize(const PixelBox& box, std::int64_t height, std::int64_t width, ResizeFilter filter)
      : box_(box), height_(height), width_(width), filter_(filter) {}

  std::vector<double> of(const Tensor& image) const {
    std::vector<double> result;
    for (std::int64_t c = 0; c < image.dim(0); ++c) {
      for (std::int64_t y = 0; y < height_; ++y) {
        for (std::int64_t x = 0; x < width_; ++x) result.push_back(pixel(image, c, y, x));
      }
    }
    return result;
  }

 private:
  double pixel(const Tensor& image, std::int64_t c, std::int64_t y, std::int64_t x) const {
    double sum = 0, valid = 0, all = 0;
    for (std::int64_t v = 0; v < box_.height; ++v) {
      const double wy = weight(v, y, box_.height, height_);
      if (wy == 0) continue;
      for (std::int64_t u = 0; u < box_.width; ++u) {
        const double w = wy * weight(u, x, box_.width, width_);
        const float value = at(image, c, box_.y + v, box_.x + u);
        all += w;
        if (std::isnan(value)) continue;
        sum += w * value;
        valid += w;
      }
    }
    return valid < 0.5 * all ? std::nan("") : sum / valid;
  }

  double weight(std::int64_t from, std::int64_t to, std::int64_t size,
                std::int64_t new_size) const {
    const double scale = static_cast<double>(size) / static_cast<double>(new_size);
    const double centre = (static_cast<double>(to) + 0.5) * scale - 0.5;
    const double x = std::abs(static_cast<double>(from) - centre) / std::max(scale, 1.0);
    if (filter_ == ResizeFilter::bilinear) return std::max(0.0, 1 - x);
    if (x < 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
    if (x < 2) return -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2;
    return 0;
  }

  PixelBox box_;
  std::int64_t height_, width_;
  ResizeFilter filter_;
};

TEST(Resized, IsWhatTheDefinitionSays) {
  for (const double missing : {0.0, 0.2}) {
    const Tensor image = test::random_image(2, 23, 31, missing);
    for (const ResizeFilter filter : {ResizeFilter::bilinear, ResizeFilter::bicubic}) {
      for (const PixelBox& box :
           {PixelBox{0, 0, 23, 31}, PixelBox{3, 5, 11, 7}, PixelBox{22, 30, 1, 1}}) {
        for (const auto& [height, width] :
             {std::pair{16, 16}, std::pair{23, 31}, std::pair{5, 40}, std::pair{1, 1}}) {
          test::expect_near(resized(image, box, height, width, filter),
                            PlainResize(box, height, width, filter).of(image), 2e-5);
        }
      }
    }
  }
}

TEST(Resized, KeepsAnImageOfItsSize) {
  const Tensor image = test::random_image(2, 9, 8, 0.3);
  EXPECT_TRUE(test::is_same(resized(image, {0, 0, 9, 8}, 9, 8, ResizeFilter::bilinear), image));
}

// Garbage would spread over the support of the filter.
TEST(Resized, MissingPixelsDoNotSpread) {
  Tensor image = Tensor::empty({1, 8, 8});
  std::fill_n(image.data<float>(), 64, 3.0F);
  image.data<float>()[8 * 3 + 3] = test::kNoValue;
  const Tensor larger = resized(image, {0, 0, 8, 8}, 16, 16, ResizeFilter::bicubic);
  std::int64_t missing = 0;
  for (std::int64_t i = 0; i < larger.numel(); ++i) {
    const float value = larger.data<float>()[i];
    if (std::isnan(value)) {
      ++missing;
    } else {
      EXPECT_NEAR(value, 3, 1e-5);
    }
  }
  EXPECT_EQ(missing, 4);
  const Tensor smaller = resized(image, {0, 0, 8, 8}, 4, 4, ResizeFilter::bilinear);
  for (std::int64_t i = 0; i < 16; ++i) EXPECT_NEAR(smaller.data<float>()[i], 3, 1e-5);
}

}  // namespace
}  // namespace trib::ops
