#include "ops/image/orientation.h"

#include <algorithm>

namespace trib::ops {
namespace {

// out[y, x] = in[x, y]; square blocks, so that the columns of one stay in the cache.
void transpose_plane(const float* in, std::int64_t height, std::int64_t width, float* out) {
  constexpr std::int64_t kBlock = 16;
  for (std::int64_t y0 = 0; y0 < height; y0 += kBlock) {
    for (std::int64_t x0 = 0; x0 < width; x0 += kBlock) {
      for (std::int64_t x = x0; x < std::min(x0 + kBlock, width); ++x) {
        for (std::int64_t y = y0; y < std::min(y0 + kBlock, height); ++y) {
          out[x * height + y] = in[y * width + x];
        }
      }
    }
  }
}

}  // namespace

Orientation Orientation::flipped(bool y, bool x) const {
  return {transpose, flip_y != y, flip_x != x};
}

Orientation Orientation::turned(int quarters) const {
  Orientation turned = *this;
  // A quarter turn swaps the axes, and with them the mirrors, and turns the rows upside down.
  for (int i = 0; i < (quarters % 4 + 4) % 4; ++i) {
    turned = {!turned.transpose, !turned.flip_x, turned.flip_y};
  }
  return turned;
}

Tensor oriented(const Tensor& image_cyx, const Orientation& orientation) {
  const std::int64_t channels = image_cyx.dim(0);
  const std::int64_t in_height = image_cyx.dim(1), in_width = image_cyx.dim(2);
  const std::int64_t height = orientation.transpose ? in_width : in_height;
  const std::int64_t width = orientation.transpose ? in_height : in_width;
  Tensor result = Tensor::empty({channels, height, width}, DType::f32, MemoryKind::ingest);
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* in = image_cyx.data<float>() + c * height * width;
    float* out = result.data<float>() + c * height * width;
    if (orientation.transpose) {
      transpose_plane(in, in_height, in_width, out);
      if (orientation.flip_y) {
        for (std::int64_t y = 0; y < height / 2; ++y) {
          std::swap_ranges(out + y * width, out + (y + 1) * width, out + (height - 1 - y) * width);
        }
      }
      if (orientation.flip_x) {
        for (std::int64_t y = 0; y < height; ++y)
          std::reverse(out + y * width, out + (y + 1) * width);
      }
      continue;
    }
    for (std::int64_t y = 0; y < height; ++y) {
      const float* row = in + (orientation.flip_y ? height - 1 - y : y) * width;
      if (orientation.flip_x) {
        std::reverse_copy(row, row + width, out + y * width);
      } else {
        std::copy_n(row, width, out + y * width);
      }
    }
  }
  return result;
}

Tensor rolled(const Tensor& image_cyx, std::int64_t shift) {
  Tensor result = Tensor::empty(image_cyx.shape(), DType::f32, MemoryKind::ingest);
  const std::int64_t width = image_cyx.dim(2);
  const std::int64_t first = ((-shift) % width + width) % width;  // the column that comes to 0
  const std::int64_t rows = image_cyx.dim(0) * image_cyx.dim(1);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = image_cyx.data<float>() + r * width;
    std::rotate_copy(row, row + first, row + width, result.data<float>() + r * width);
  }
  return result;
}

}  // namespace trib::ops
