// Affine maps of an image: shifts, shears, turns by any angle, and what they make together.
//
// Axes: c channel, y row (downwards), x column.
#pragma once

#include <cstdint>

#include "ops/base/tensor.h"

namespace trib::ops {

/// From a place in the result to the place in the image it is taken from, in pixels from the
/// centre: x_in = xx x + xy y + x0, y_in = yx x + yy y + y0.
struct AffineMap {
  double xx = 1, xy = 0, x0 = 0;
  double yx = 0, yy = 1, y0 = 0;

  bool operator==(const AffineMap&) const = default;
  bool is_identity() const { return *this == AffineMap{}; }
  /// The map of an image that is first moved by this one, then by `next`.
  AffineMap then(const AffineMap& next) const;

  /// Contents move by this many pixels to the right and down.
  static AffineMap translation(double x, double y);
  /// Rows move to the right by `x` pixels a pixel they lie below the centre, columns down by `y`.
  static AffineMap shear(double x, double y);
  /// Contents turn counter-clockwise.
  static AffineMap rotation(double degrees);
};

/// image_cyx (f32, contiguous) under the map, bilinear, in the same size and charged to
/// MemoryKind::ingest. What comes from outside is `outside` (NaN for missing). Missing pixels (NaN)
/// are left out and the weights of the others scaled up; where those are less than half of what
/// lies inside, the result is missing.
Tensor warped(const Tensor& image_cyx, const AffineMap& map, float outside);

}  // namespace trib::ops
