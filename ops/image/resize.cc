#include "ops/image/resize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "ops/image/missing.h"

namespace trib::ops {
namespace {

double filter_value(ResizeFilter filter, double x) {
  x = std::abs(x);
  if (filter == ResizeFilter::bilinear) return std::max(0.0, 1 - x);
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// How the pixels of an axis are put together from those of another. Each result takes `taps`
// neighbours; where it needs fewer, weights are zero.
struct Taps {
  std::int64_t taps = 0;
  std::vector<std::int32_t> first;  // [to]
  std::vector<float> weight;        // [taps, to]
};

Taps taps_of(std::int64_t from, std::int64_t to, ResizeFilter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == ResizeFilter::bilinear ? 1 : 2) * stretch;
  const auto bounds = [&](std::int64_t i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto low = static_cast<std::int64_t>(std::max(0.0, centre - support + 0.5));
    const auto high = std::min(from, static_cast<std::int64_t>(centre + support + 0.5));
    return std::pair{low, high};
  };
  Taps result;
  for (std::int64_t i = 0; i < to; ++i) {
    result.taps = std::max(result.taps, bounds(i).second - bounds(i).first);
  }
  result.first.resize(static_cast<std::size_t>(to));
  result.weight.assign(static_cast<std::size_t>(result.taps * to), 0.0F);
  std::vector<double> weights(static_cast<std::size_t>(result.taps));
  for (std::int64_t i = 0; i < to; ++i) {
    const auto [low, high] = bounds(i);
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    double sum = 0;
    for (std::int64_t k = low; k < high; ++k) {
      const double w = filter_value(filter, (static_cast<double>(k) + 0.5 - centre) / stretch);
      weights[static_cast<std::size_t>(k - low)] = w;
      sum += w;
    }
    // All taps lie on the axis, also those of weight zero.
    const std::int64_t first = std::min(low, from - result.taps);
    result.first[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(first);
    for (std::int64_t k = low; k < high; ++k) {
      result.weight[static_cast<std::size_t>((k - first) * to + i)] =
          static_cast<float>(weights[static_cast<std::size_t>(k - low)] / sum);
    }
  }
  return result;
}

// Rows first, as all columns can be done side by side: rows [height, width] (`stride` apart)
// -> out [to_y, to_x].
class Resizer {
 public:
  Resizer(const PixelBox& box, std::int64_t height, std::int64_t width, ResizeFilter filter)
      : box_(box),
        height_(height),
        width_(width),
        y_(taps_of(box.height, height, filter)),
        x_(taps_of(box.width, width, filter)),
        row_(static_cast<std::size_t>(box.width)) {}

  void apply(const float* plane, std::int64_t stride, float* out) {
    for (std::int64_t y = 0; y < height_; ++y) {
      blend_rows(plane + y_.first[static_cast<std::size_t>(y)] * stride, stride, y);
      blend_columns(out + y * width_);
    }
  }

 private:
  void blend_rows(const float* rows, std::int64_t stride, std::int64_t y) {
    std::fill(row_.begin(), row_.end(), 0.0F);
    float* const row = row_.data();
    for (std::int64_t k = 0; k < y_.taps; ++k) {
      const float weight = y_.weight[static_cast<std::size_t>(k * height_ + y)];
      if (weight == 0) continue;
      const float* const from = rows + k * stride;
      for (std::int64_t x = 0; x < box_.width; ++x) row[x] += weight * from[x];
    }
  }

  void blend_columns(float* out) const {
    const float* const row = row_.data();
    const std::int32_t* const first = x_.first.data();
    std::fill(out, out + width_, 0.0F);
    for (std::int64_t k = 0; k < x_.taps; ++k) {
      const float* const weight = x_.weight.data() + k * width_;
      for (std::int64_t x = 0; x < width_; ++x) out[x] += weight[x] * row[first[x] + k];
    }
  }

  PixelBox box_;
  std::int64_t height_, width_;
  Taps y_, x_;
  std::vector<float> row_;
};

}  // namespace

Tensor resized(const Tensor& image_cyx, const PixelBox& box, std::int64_t height,
               std::int64_t width, ResizeFilter filter) {
  const std::int64_t channels = image_cyx.dim(0), stride = image_cyx.dim(2);
  Tensor result = Tensor::empty({channels, height, width}, DType::f32, MemoryKind::ingest);
  Resizer resizer(box, height, width, filter);
  const auto pixels = static_cast<std::size_t>(box.height * box.width);
  std::vector<float> values, valid, share;
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* plane = image_cyx.data<float>() + (c * image_cyx.dim(1) + box.y) * stride + box.x;
    float* out = result.data<float>() + c * height * width;
    bool missing = false;
    for (std::int64_t y = 0; y < box.height && !missing; ++y) {
      missing = any_missing(plane + y * stride, box.width);
    }
    if (!missing) {
      resizer.apply(plane, stride, out);
      continue;
    }
    // Sums of values and of the weights they came with.
    values.resize(pixels);
    valid.resize(pixels);
    share.resize(static_cast<std::size_t>(height * width));
    for (std::int64_t y = 0; y < box.height; ++y) {
      const std::size_t row = static_cast<std::size_t>(y * box.width);
      split_missing(plane + y * stride, box.width, values.data() + row, valid.data() + row);
    }
    resizer.apply(values.data(), box.width, out);
    resizer.apply(valid.data(), box.width, share.data());
    constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
    for (std::int64_t i = 0; i < height * width; ++i) {
      const float weight = share[static_cast<std::size_t>(i)];
      out[i] = weight >= 0.5F ? out[i] / weight : kMissing;
    }
  }
  return result;
}

}  // namespace trib::ops
