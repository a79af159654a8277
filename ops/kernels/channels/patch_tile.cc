#include "ops/kernels/channels/patch_tile.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "ops/kernels/vector/quarter_transpose.h"

namespace trib::ops {
namespace {

using namespace simd;

// Positions gathered together.
constexpr std::int64_t kGroup = 16;

using Offsets = std::array<std::int64_t, kPositions>;

inline Float16 without_missing(const Float16& x) {
  return x == x ? x : Float16{};
}

// Four pixels of each of 16 positions.
inline void load_four(float* x_kr, const float* from, const std::int64_t* offsets) {
  Float16 a[4];
  for (int i = 0; i < 4; ++i) {
    a[i] = gather_quarters(from + offsets[i], from + offsets[4 + i], from + offsets[8 + i],
                           from + offsets[12 + i]);
  }
  transpose_quarters(a[0], a[1], a[2], a[3]);
  for (int i = 0; i < 4; ++i) store(x_kr + i * kPositions, without_missing(a[i]));
}

// Two pixels of each of 8 positions, a pair at a time as if it were one number.
inline Float16 load_pairs(const float* from, const std::int64_t* offsets) {
  const auto pair = [&](int i) {
    double two;
    std::memcpy(&two, from + offsets[i], sizeof two);
    return two;
  };
  typedef double Pairs __attribute__((vector_size(64)));
  const Pairs pairs = {pair(0), pair(1), pair(2), pair(3), pair(4), pair(5), pair(6), pair(7)};
  return std::bit_cast<Float16>(pairs);
}

// Two pixels of each of 16 positions, which may lie one after the other.
inline void load_two(float* x_kr, const float* from, const std::int64_t* offsets, bool in_a_row) {
  const Float16 a = in_a_row ? load<Float16>(from + offsets[0]) : load_pairs(from, offsets);
  const Float16 b = in_a_row ? load<Float16>(from + offsets[8]) : load_pairs(from, offsets + 8);
  store(x_kr, without_missing(__builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
                                                      22, 24, 26, 28, 30)));
  store(x_kr + kPositions, without_missing(__builtin_shufflevector(
                               a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)));
}

inline void load_one(float* x_kr, const float* from, const std::int64_t* offsets) {
  for (int i = 0; i < kGroup; ++i) {
    const float x = from[offsets[i]];
    x_kr[i] = x == x ? x : 0.0F;
  }
}

// Vectors of sums that leave room in the registers for what is multiplied.
#if defined(TRIB_AVX512)
constexpr int kSumVectors = 24;
#else
constexpr int kSumVectors = 12;
#endif

// Vectors of positions whose sums are in registers at a time, and rows beside them.
constexpr int kPositionVectors = kSumVectors / 6;
constexpr int kRows = 6;
constexpr std::int64_t kStrip = kPositionVectors * kLanes;
static_assert(kPositions % kStrip == 0);

// Vectors of features whose sums are in registers at a time, and rows beside them.
constexpr int kFeatureVectors = 2;
constexpr int kFeatureRows = kSumVectors / kFeatureVectors;

// Call body(std::integral_constant<int, n>) for a run-time n in [1, Max].
template <int Max, class Body>
inline void with_count(std::int64_t n, const Body& body) {
  if constexpr (Max > 0) {
    if (n == Max) return body(std::integral_constant<int, Max>{});
    with_count<Max - 1>(n, body);
  }
}

// Call body(first, count) for pieces of [0, extent) of nearly the same size, at most `largest`.
template <class Body>
inline void for_pieces(std::int64_t extent, std::int64_t largest, const Body& body) {
  const std::int64_t pieces = blocks_of(extent, largest);
  for (std::int64_t i = 0; i < pieces; ++i) {
    const std::int64_t first = i * extent / pieces;
    body(first, (i + 1) * extent / pieces - first);
  }
}

template <int N>
void add_strip_product(float* out_dr, const float* x_kr, const float* v_kd, std::int64_t stride,
                       std::int64_t inner, bool overwrite) {
  Vector sum[N][kPositionVectors];
  for (int d = 0; d < N; ++d) {
    for (int j = 0; j < kPositionVectors; ++j) {
      sum[d][j] = overwrite ? Vector{} : load(out_dr + d * kPositions + j * kLanes);
    }
  }
  for (std::int64_t k = 0; k < inner; ++k) {
    Vector x[kPositionVectors];
    for (int j = 0; j < kPositionVectors; ++j) {
      x[j] = load(x_kr + k * kPositions + j * kLanes);
    }
    const float* v = v_kd + k * stride;
    for (int d = 0; d < N; ++d) {
      for (int j = 0; j < kPositionVectors; ++j) sum[d][j] += x[j] * v[d];
    }
  }
  for (int d = 0; d < N; ++d) {
    for (int j = 0; j < kPositionVectors; ++j) {
      store(out_dr + d * kPositions + j * kLanes, sum[d][j]);
    }
  }
}

// K rows of dv and V vectors of features.
template <int K, int V>
void add_strip_gradient(float* dv_kd, std::int64_t stride, const float* x_kr, const float* dout_rd,
                        std::int64_t dout_stride, std::int64_t positions, bool overwrite) {
  Vector sum[K][V];
  for (int k = 0; k < K; ++k) {
    for (int j = 0; j < V; ++j) {
      sum[k][j] = overwrite ? Vector{} : load(dv_kd + k * stride + j * kLanes);
    }
  }
  for (std::int64_t r = 0; r < positions; ++r) {
    Vector dout[V];
    for (int j = 0; j < V; ++j) dout[j] = load(dout_rd + r * dout_stride + j * kLanes);
    for (int k = 0; k < K; ++k) {
      const float x = x_kr[k * kPositions + r];
      for (int j = 0; j < V; ++j) sum[k][j] += dout[j] * x;
    }
  }
  for (int k = 0; k < K; ++k) {
    for (int j = 0; j < V; ++j) store(dv_kd + k * stride + j * kLanes, sum[k][j]);
  }
}

template <int V>
void add_strip_gradients(float* dv_kd, std::int64_t stride, const float* x_kr, const float* dout_rd,
                         std::int64_t dout_stride, std::int64_t positions, std::int64_t inner,
                         bool overwrite) {
  for_pieces(inner, kFeatureRows, [&](std::int64_t k, std::int64_t count) {
    with_count<kFeatureRows>(count, [&](auto rows) {
      add_strip_gradient<rows(), V>(dv_kd + k * stride, stride, x_kr + k * kPositions, dout_rd,
                                    dout_stride, positions, overwrite);
    });
  });
}

// sum += x_kr . (v_kd dout_dr) of K pixels.
template <int K>
void correlate_strip(Vector (&sum)[kPositionVectors], const float* x_kr, const float* v_kd,
                     std::int64_t stride, const float* dout_dr, std::int64_t dim) {
  Vector dx[K][kPositionVectors] = {};
  for (std::int64_t d = 0; d < dim; ++d) {
    Vector dout[kPositionVectors];
    for (int j = 0; j < kPositionVectors; ++j) {
      dout[j] = load(dout_dr + d * kPositions + j * kLanes);
    }
    for (int k = 0; k < K; ++k) {
      const float v = v_kd[k * stride + d];
      for (int j = 0; j < kPositionVectors; ++j) dx[k][j] += dout[j] * v;
    }
  }
  for (int k = 0; k < K; ++k) {
    for (int j = 0; j < kPositionVectors; ++j) {
      sum[j] += dx[k][j] * load(x_kr + k * kPositions + j * kLanes);
    }
  }
}

template <int N>
void score_strip(float* s_hr, std::int64_t stride, const float* x_kr, const float* u_kh,
                 std::int64_t u_stride, std::int64_t inner) {
  Vector sum[N][kPositionVectors] = {};
  for (std::int64_t k = 0; k < inner; ++k) {
    Vector x[kPositionVectors];
    for (int j = 0; j < kPositionVectors; ++j) {
      x[j] = load(x_kr + k * kPositions + j * kLanes);
    }
    for (int h = 0; h < N; ++h) {
      const float u = u_kh[k * u_stride + h];
      for (int j = 0; j < kPositionVectors; ++j) sum[h][j] += x[j] * u;
    }
  }
  for (int h = 0; h < N; ++h) {
    for (int j = 0; j < kPositionVectors; ++j) store(s_hr + h * stride + j * kLanes, sum[h][j]);
  }
}

}  // namespace

void load_patch_tile(float* x_kr, const ChannelPatchesView& patches, std::int64_t block,
                     std::int64_t begin, std::int64_t end, bool extended) {
  const std::int64_t first = block * kPositions;
  Offsets offsets;
  std::array<bool, kPositions / kGroup> in_a_row;
  for (std::int64_t r = 0; r < kPositions; ++r) {
    offsets[static_cast<std::size_t>(r)] =
        patches.row_offsets[std::min(first + r, patches.rows - 1)];
  }
  for (std::size_t g = 0; g < in_a_row.size(); ++g) {
    const std::int64_t* own = offsets.data() + g * kGroup;
    in_a_row[g] = patches.width == 2;
    for (int i = 1; i < kGroup; ++i) in_a_row[g] = in_a_row[g] && own[i] == own[0] + 2 * i;
  }
  for (std::int64_t c = begin; c < end; ++c) {
    for (std::int64_t y = 0; y < patches.height; ++y) {
      const float* row = patches.x + c * patches.channel_stride + y * patches.pitch;
      std::int64_t x = 0;
      for (; x < patches.width;) {
        const std::int64_t left = patches.width - x;
        for (std::size_t g = 0; g < in_a_row.size(); ++g) {
          const std::int64_t* own = offsets.data() + g * kGroup;
          float* to = x_kr + g * kGroup;
          if (left >= 4) {
            load_four(to, row + x, own);
          } else if (left >= 2) {
            load_two(to, row + x, own, in_a_row[g]);
          } else {
            load_one(to, row + x, own);
          }
        }
        const std::int64_t loaded = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        x += loaded;
        x_kr += loaded * kPositions;
      }
    }
    if (!extended) continue;
    std::fill_n(x_kr, kPositions, 1.0F);
    x_kr += kPositions;
  }
}

void add_tile_product(float* out_dr, const float* x_kr, const float* v_kd, std::int64_t stride,
                      std::int64_t inner, std::int64_t dim, bool overwrite) {
  for_pieces(dim, kRows, [&](std::int64_t d, std::int64_t count) {
    with_count<kRows>(count, [&](auto rows) {
      for (std::int64_t r = 0; r < kPositions; r += kStrip) {
        add_strip_product<rows()>(out_dr + d * kPositions + r, x_kr + r, v_kd + d, stride, inner,
                                  overwrite);
      }
    });
  });
}

void add_tile_gradient(float* dv_kd, std::int64_t stride, const float* x_kr, const float* dout_rd,
                       std::int64_t dout_stride, std::int64_t positions, std::int64_t inner,
                       std::int64_t dim, bool overwrite) {
  std::int64_t d = 0;
  for (; d + kFeatureVectors * kLanes <= dim; d += kFeatureVectors * kLanes) {
    add_strip_gradients<kFeatureVectors>(dv_kd + d, stride, x_kr, dout_rd + d, dout_stride,
                                         positions, inner, overwrite);
  }
  for (; d + kLanes <= dim; d += kLanes) {
    add_strip_gradients<1>(dv_kd + d, stride, x_kr, dout_rd + d, dout_stride, positions, inner,
                           overwrite);
  }
  if (d == dim) return;
  // The features left over in a vector of their own, and its sums apart.
  const std::int64_t left = dim - d;
  std::array<float, kPositions * kLanes> last_rd{};
  std::array<float, kFeatureRows * kLanes> sums_kd;
  for (std::int64_t r = 0; r < positions; ++r) {
    std::copy_n(dout_rd + r * dout_stride + d, left, last_rd.data() + r * kLanes);
  }
  for_pieces(inner, kFeatureRows, [&](std::int64_t k, std::int64_t count) {
    with_count<kFeatureRows>(count, [&](auto rows) {
      add_strip_gradient<rows(), 1>(sums_kd.data(), kLanes, x_kr + k * kPositions, last_rd.data(),
                                    kLanes, positions, /*overwrite=*/true);
    });
    for (std::int64_t i = 0; i < count; ++i) {
      float* to = dv_kd + (k + i) * stride + d;
      for (std::int64_t j = 0; j < left; ++j) {
        to[j] = (overwrite ? 0.0F : to[j]) + sums_kd[static_cast<std::size_t>(i * kLanes + j)];
      }
    }
  });
}

void score_tile(float* s_hr, std::int64_t stride, const float* x_kr, const float* u_kh,
                std::int64_t u_stride, std::int64_t inner, std::int64_t heads) {
  for_pieces(heads, kRows, [&](std::int64_t h, std::int64_t count) {
    with_count<kRows>(count, [&](auto rows) {
      for (std::int64_t r = 0; r < kPositions; r += kStrip) {
        score_strip<rows()>(s_hr + h * stride + r, stride, x_kr + r, u_kh + h, u_stride, inner);
      }
    });
  });
}

void correlate_tile(float* s_r, const float* x_kr, const float* v_kd, std::int64_t stride,
                    const float* dout_dr, std::int64_t inner, std::int64_t dim) {
  for (std::int64_t r = 0; r < kPositions; r += kStrip) {
    Vector sum[kPositionVectors] = {};
    for_pieces(inner, kRows, [&](std::int64_t k, std::int64_t count) {
      with_count<kRows>(count, [&](auto rows) {
        correlate_strip<rows()>(sum, x_kr + k * kPositions + r, v_kd + k * stride, stride,
                                dout_dr + r, dim);
      });
    });
    for (int j = 0; j < kPositionVectors; ++j) store(s_r + r + j * kLanes, sum[j]);
  }
}

void transpose_to_positions(float* to_dr, const float* from_rd, std::int64_t stride,
                            std::int64_t positions, std::int64_t dim) {
  const std::int64_t whole = positions / kGroup * kGroup, even = dim / 4 * 4;
  for (std::int64_t r = 0; r < whole; r += kGroup) {
    transpose_rows(to_dr + r, kPositions, from_rd + r * stride, stride, even,
                   [](const Float16& x) { return x; });
  }
  for (std::int64_t d = 0; d < dim; ++d) {
    float* to = to_dr + d * kPositions;
    for (std::int64_t r = d < even ? whole : 0; r < positions; ++r) to[r] = from_rd[r * stride + d];
    std::fill(to + positions, to + kPositions, 0.0F);
  }
}

void transpose_from_positions(float* to_rd, std::int64_t stride, const float* from_dr,
                              std::int64_t positions, std::int64_t dim) {
  const std::int64_t whole = dim / kGroup * kGroup, even = positions / 4 * 4;
  for (std::int64_t d = 0; d < whole; d += kGroup) {
    transpose_rows(to_rd + d, stride, from_dr + d * kPositions, kPositions, even,
                   [](const Float16& x) { return x; });
  }
  for (std::int64_t r = 0; r < positions; ++r) {
    for (std::int64_t d = r < even ? whole : 0; d < dim; ++d) {
      to_rd[r * stride + d] = from_dr[d * kPositions + r];
    }
  }
}

}  // namespace trib::ops
