// Copies between matrices whose rows lie apart.
#pragma once

#include <cstdint>

namespace trib::ops {

/// to[r * to_stride + i] = from[r * from_stride + i] for i < width.
void copy_rows(float* to, std::int64_t to_stride, const float* from, std::int64_t from_stride,
               std::int64_t rows, std::int64_t width);

}  // namespace trib::ops
