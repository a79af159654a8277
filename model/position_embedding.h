// Sine-cosine position embeddings (MAE, ClimaX) and the addition of embeddings to tokens.
//
// Axes: b sample, n token, d dim.
#pragma once

#include <cstdint>

namespace trib::model {

/// Row `pos` is [sin(pos w_0), sin(pos w_1), ..., cos(pos w_0), cos(pos w_1), ...] with
/// w_i = 10000^(-i / (dim / 2)); dim is even. The rows are those from position `first` on.
void sincos_1d(float* embed_nd, std::int64_t first, std::int64_t positions, std::int64_t dim);

/// Tokens of a grid, row-major: the first half of each row encodes the column, the second half the
/// row of the grid, each as sincos_1d; dim is a multiple of 4.
void sincos_2d(float* embed_nd, std::int64_t grid_height, std::int64_t grid_width,
               std::int64_t dim);

/// x[b, j] += embed[visible[b * tokens + j]], or embed[j] if `visible` is null.
void add_position(float* x_bnd, const float* embed_nd, const std::int32_t* visible,
                  std::int64_t batch, std::int64_t tokens, std::int64_t dim);
/// The gradient of the embedding: d_embed[visible[b * tokens + j]] += dx[b, j].
void add_position_gradient(float* d_embed_nd, const float* dx_bnd, const std::int32_t* visible,
                           std::int64_t batch, std::int64_t tokens, std::int64_t dim);

}  // namespace trib::model
