// Moves of whole pixels: mirrors, quarter turns and rolls. Exact, missing values included.
//
// Axes: c channel, y row (downwards), x column.
#pragma once

#include <cstdint>

#include "ops/base/tensor.h"

namespace trib::ops {

/// One of the eight ways to lay a rectangle: swap rows and columns, then mirror.
struct Orientation {
  bool transpose = false;
  bool flip_y = false;  ///< upside down
  bool flip_x = false;  ///< left to right

  bool operator==(const Orientation&) const = default;
  bool is_identity() const { return *this == Orientation{}; }
  /// This orientation, then mirrored.
  Orientation flipped(bool y, bool x) const;
  /// This orientation, then turned by quarters counter-clockwise, as torch.rot90 does.
  Orientation turned(int quarters) const;
};

/// A copy of image_cyx (f32, contiguous) in another orientation, charged to MemoryKind::ingest.
Tensor oriented(const Tensor& image_cyx, const Orientation& orientation);

/// A copy whose column x is column x - shift of image_cyx, around the end.
Tensor rolled(const Tensor& image_cyx, std::int64_t shift);

}  // namespace trib::ops
