// Position embeddings of another image size.
//
// Axes: n position of a grid, row-major; d dim.
#pragma once

#include <cstdint>

namespace trib::model {

/// Positions along the height and the width of an image.
struct PositionGrid {
  std::int64_t height = 0, width = 0;
  std::int64_t positions() const { return height * width; }
  bool operator==(const PositionGrid&) const = default;
};

/// Interpolate embeddings of the grid `from` at the positions of the grid `to`: bicubic (a =
/// -0.75), borders repeated, corners not aligned, no smoothing. What MAE's interpolate_pos_embed
/// and timm's resample_abs_pos_embed(antialias=False) compute. Equal grids give a copy, to the bit.
void resize_position_embedding(float* to_nd, const PositionGrid& to, const float* from_nd,
                               const PositionGrid& from, std::int64_t dim);

}  // namespace trib::model
