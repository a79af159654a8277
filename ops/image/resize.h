// Cutting a rectangle out of an image and resizing it.
//
// Axes: c channel, y row (downwards), x column.
#pragma once

#include <cstdint>

#include "ops/base/tensor.h"

namespace trib::ops {

/// A rectangle of pixels of an image.
struct PixelBox {
  std::int64_t y = 0, x = 0, height = 0, width = 0;
  bool operator==(const PixelBox&) const = default;
};

enum class ResizeFilter : std::uint8_t {
  bilinear,  ///< triangle
  bicubic,   ///< Keys' cubic with a = -0.5
};

/// The pixels of `box` in image_cyx (f32, contiguous), resized to [channels, height, width] and
/// charged to MemoryKind::ingest. Where pixels get larger the filter interpolates; where they get
/// smaller it widens with them, so that all of them count (as Pillow's resize and torchvision's
/// with antialias). Nothing outside the box is looked at.
///
/// Missing pixels (NaN) are left out and the weights of the others scaled up; where those are less
/// than half, the result is missing.
Tensor resized(const Tensor& image_cyx, const PixelBox& box, std::int64_t height,
               std::int64_t width, ResizeFilter filter);

}  // namespace trib::ops
