#include "ops/kernels/copy_rows.h"

#include <algorithm>

#include "ops/base/parallel.h"

namespace trib::ops {

void copy_rows(float* to, std::int64_t to_stride, const float* from, std::int64_t from_stride,
               std::int64_t rows, std::int64_t width) {
  if (width == 0) return;
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / width);
  parallel_for(rows, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::copy_n(from + r * from_stride, width, to + r * to_stride);
    }
  });
}

}  // namespace trib::ops
