#include "model/position_embedding.h"

#include <cmath>

#include "ops/base/parallel.h"

namespace trib::model {
namespace {

void sincos_row(float* row, std::int64_t position, std::int64_t dim) {
  const std::int64_t half = dim / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const double omega = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
    const double angle = static_cast<double>(position) * omega;
    row[i] = static_cast<float>(std::sin(angle));
    row[half + i] = static_cast<float>(std::cos(angle));
  }
}

}  // namespace

void sincos_1d(float* embed_nd, std::int64_t first, std::int64_t positions, std::int64_t dim) {
  for (std::int64_t n = 0; n < positions; ++n) sincos_row(embed_nd + n * dim, first + n, dim);
}

void sincos_2d(float* embed_nd, std::int64_t grid_height, std::int64_t grid_width,
               std::int64_t dim) {
  const std::int64_t half = dim / 2;
  for (std::int64_t n = 0; n < grid_height * grid_width; ++n) {
    sincos_row(embed_nd + n * dim, n % grid_width, half);
    sincos_row(embed_nd + n * dim + half, n / grid_width, half);
  }
}

void add_position(float* x_bnd, const float* embed_nd, const std::int32_t* visible,
                  std::int64_t batch, std::int64_t tokens, std::int64_t dim) {
  parallel_for(batch * tokens, 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t n = visible != nullptr ? visible[r] : r % tokens;
      for (std::int64_t d = 0; d < dim; ++d) x_bnd[r * dim + d] += embed_nd[n * dim + d];
    }
  });
}

void add_position_gradient(float* d_embed_nd, const float* dx_bnd, const std::int32_t* visible,
                           std::int64_t batch, std::int64_t tokens, std::int64_t dim) {
  // Samples meet in the same row of the embedding: cut the columns, not the samples.
  parallel_for(dim, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = 0; r < batch * tokens; ++r) {
      const std::int64_t n = visible != nullptr ? visible[r] : r % tokens;
      for (std::int64_t d = begin; d < end; ++d) d_embed_nd[n * dim + d] += dx_bnd[r * dim + d];
    }
  });
}

}  // namespace trib::model
