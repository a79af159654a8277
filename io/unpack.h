// From the numbers of a file to physical values.
//
// Axes: c channel, y row, x column.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "io/image.h"
#include "ops/base/dtype.h"

namespace trib::io {

/// How a file packs values: value = scale * raw + offset. Raw numbers that mean "missing" are
/// listed; those outside the valid range are missing too. A missing number the element type cannot
/// hold (NaN on integers) is never met.
struct Packing {
  double scale = 1, offset = 0;
  std::vector<double> missing;
  double valid_min = -std::numeric_limits<double>::infinity();  ///< raw, inclusive
  double valid_max = std::numeric_limits<double>::infinity();
  bool has_valid_range() const { return std::isfinite(valid_min) || std::isfinite(valid_max); }
  bool operator==(const Packing&) const = default;

  /// The packing of which this one's values, after `affine`, are the values.
  Packing then(const Affine& affine) const {
    Packing packing = *this;
    packing.scale = scale * affine.scale;
    packing.offset = offset * affine.scale + affine.offset;
    return packing;
  }
};

/// Elements of a file in memory; strides in elements, negative ones run backwards from `first`.
struct RawBlock {
  const std::byte* first;
  DType dtype;
  std::array<std::int64_t, 3> extents_cyx;
  std::array<std::int64_t, 3> strides_cyx;
};

/// Where values go: part of an image whose rows are contiguous. Strides in elements.
struct ValueBlock {
  float* first;
  std::int64_t stride_c, stride_y;
};

/// Write the physical values of a block, each channel's after its own of `affine_c` (empty: as they
/// are); missing ones become NaN.
void unpack(const RawBlock& block, const Packing& packing, std::span<const Affine> affine_c,
            const ValueBlock& out);

/// Write the physical values of a block to a contiguous array [c, y, x]; missing ones become NaN.
void unpack(const RawBlock& block, const Packing& packing, float* out_cyx);

}  // namespace trib::io
