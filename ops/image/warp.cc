#include "ops/image/warp.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "ops/image/missing.h"

namespace trib::ops {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

// For a row of results: the four pixels each is made of, with weights that are zero outside.
class RowOfPlaces {
 public:
  RowOfPlaces(std::int64_t height, std::int64_t width)
      : height_(height), width_(width), inside_(static_cast<std::size_t>(width)) {
    for (auto& index : index_) index.resize(static_cast<std::size_t>(width));
    for (auto& weight : weight_) weight.resize(static_cast<std::size_t>(width));
  }

  void find(const AffineMap& map, std::int64_t row) {
    const double centre_y = 0.5 * static_cast<double>(height_ - 1);
    const double centre_x = 0.5 * static_cast<double>(width_ - 1);
    const double y = static_cast<double>(row) - centre_y;
    for (std::int64_t column = 0; column < width_; ++column) {
      const double x = static_cast<double>(column) - centre_x;
      place(static_cast<std::size_t>(column), map.yx * x + map.yy * y + map.y0 + centre_y,
            map.xx * x + map.xy * y + map.x0 + centre_x);
    }
  }

  // Results of a plane without missing values, or with.
  void apply(const float* plane, float outside, float* out) const {
    for (std::int64_t x = 0; x < width_; ++x) {
      const auto i = static_cast<std::size_t>(x);
      float sum = 0;
      for (std::size_t k = 0; k < 4; ++k) sum += weight_[k][i] * plane[index_[k][i]];
      out[x] = inside_[i] < 0.5F ? outside : sum / inside_[i];
    }
  }
  void apply_with_missing(const float* plane, float outside, float* out) const {
    for (std::int64_t x = 0; x < width_; ++x) {
      const auto i = static_cast<std::size_t>(x);
      float sum = 0, valid = 0;
      for (std::size_t k = 0; k < 4; ++k) {
        const float value = plane[index_[k][i]];
        const float weight = value == value ? weight_[k][i] : 0.0F;
        sum += weight * (value == value ? value : 0.0F);
        valid += weight;
      }
      const float inner = valid < 0.5F * inside_[i] ? kMissing : sum / valid;
      out[x] = inside_[i] < 0.5F ? outside : inner;
    }
  }

 private:
  void place(std::size_t i, double y, double x) {
    // Far places lie outside as well, and have indices that can be computed with.
    y = std::clamp(y, -2.0, static_cast<double>(height_) + 1);
    x = std::clamp(x, -2.0, static_cast<double>(width_) + 1);
    const double top = std::floor(y), left = std::floor(x);
    const auto fy = static_cast<float>(y - top), fx = static_cast<float>(x - left);
    const std::array<float, 2> wy{1 - fy, fy}, wx{1 - fx, fx};
    float inside = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const auto row = static_cast<std::int64_t>(top) + static_cast<std::int64_t>(k / 2);
      const auto column = static_cast<std::int64_t>(left) + static_cast<std::int64_t>(k % 2);
      const bool is_inside = row >= 0 && row < height_ && column >= 0 && column < width_;
      const float weight = is_inside ? wy[k / 2] * wx[k % 2] : 0.0F;
      weight_[k][i] = weight;
      index_[k][i] = static_cast<std::int32_t>(is_inside ? row * width_ + column : 0);
      inside += weight;
    }
    inside_[i] = inside;
  }

  std::int64_t height_, width_;
  std::array<std::vector<std::int32_t>, 4> index_;
  std::array<std::vector<float>, 4> weight_;
  std::vector<float> inside_;  // sum of the weights
};

}  // namespace

AffineMap AffineMap::then(const AffineMap& next) const {
  // Where the last image is taken from is looked up in the one before.
  return {xx * next.xx + xy * next.yx,      xx * next.xy + xy * next.yy,
          xx * next.x0 + xy * next.y0 + x0, yx * next.xx + yy * next.yx,
          yx * next.xy + yy * next.yy,      yx * next.x0 + yy * next.y0 + y0};
}

AffineMap AffineMap::translation(double x, double y) {
  return {1, 0, -x, 0, 1, -y};
}

AffineMap AffineMap::shear(double x, double y) {
  // The inverse of [1, x; y, 1].
  const double scale = 1 / (1 - x * y);
  return {scale, -x * scale, 0, -y * scale, scale, 0};
}

AffineMap AffineMap::rotation(double degrees) {
  const double angle = degrees * std::numbers::pi / 180;
  const double c = std::cos(angle), s = std::sin(angle);
  return {c, -s, 0, s, c, 0};
}

Tensor warped(const Tensor& image_cyx, const AffineMap& map, float outside) {
  const std::int64_t channels = image_cyx.dim(0);
  const std::int64_t height = image_cyx.dim(1), width = image_cyx.dim(2);
  Tensor result = Tensor::empty(image_cyx.shape(), DType::f32, MemoryKind::ingest);
  std::vector<bool> has_missing;
  for (std::int64_t c = 0; c < channels; ++c) {
    has_missing.push_back(
        any_missing(image_cyx.data<float>() + c * height * width, height * width));
  }
  RowOfPlaces places(height, width);
  for (std::int64_t y = 0; y < height; ++y) {
    places.find(map, y);
    for (std::int64_t c = 0; c < channels; ++c) {
      const float* plane = image_cyx.data<float>() + c * height * width;
      float* out = result.data<float>() + (c * height + y) * width;
      if (has_missing[static_cast<std::size_t>(c)]) {
        places.apply_with_missing(plane, outside, out);
      } else {
        places.apply(plane, outside, out);
      }
    }
  }
  return result;
}

}  // namespace trib::ops
