// The plane of a result is made in register tiles of 12 rows and two vectors. For each step along
// k a tile takes two vectors of b, from a packed panel, and a lane of each row of a, broadcast:
// 24 multiply-adds of vectors (bfloat16: of pairs, VDPBF16PS) for 14 loads. Rows of a are read
// where they lie, unless that would be column by column.
#include "ops/kernels/gemm/gemm_avx512.h"

#if defined(__x86_64__)

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "ops/kernels/gemm/gemm_avx512_pack.h"

namespace trib::ops {
namespace {

using detail::kPerLane;
using detail::Lane;

constexpr std::int64_t kTileRows = kGemmTileRows;
constexpr std::int64_t kTileColumns = kGemmTileColumns;
// Steps along k of a panel: 96 KB, read from the second-level cache by every tile of a column.
constexpr std::int64_t kDepth = 768;
// Panels of b that stay in that cache beside what else goes through it.
constexpr std::int64_t kCachedBytes = 320 << 10;
// Rows of a block, so that what is read of a stays in that cache from column to column, and
// columns, so that the panels do not grow without bound.
constexpr std::int64_t kBlockRows = 600;
constexpr std::int64_t kBlockColumns = 1024;

// Rows of a from which one step along k takes a lane each.
struct Rows {
  const std::byte* first;
  std::int64_t row_bytes, step_bytes;
};

// Where a tile's sums go: c = alpha * sums + bias + beta * addend. The addend, of float32, may be
// c.
struct Target {
  void* c;
  std::int64_t ldc;
  bool is_bf16;
  float alpha, beta;
  const float* addend;
  std::int64_t ld_addend;
  const float* bias;
  __mmask16 last;  // columns of the tile's last vector
};

template <class T>
TRIB_TARGET_AVX512 inline __attribute__((always_inline)) __m512 multiply_add(__m512 a, __m512 b,
                                                                             __m512 sum) {
  if constexpr (std::is_same_v<T, float>) {
    return _mm512_fmadd_ps(a, b, sum);
  } else {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
}

// A lane in all places; half of one if it is of two bytes, the rest zero.
template <class Bits>
TRIB_TARGET_AVX512 inline __attribute__((always_inline)) __m512 broadcast(const std::byte* from) {
  Bits bits;
  std::memcpy(&bits, from, sizeof(bits));
  return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(bits)));
}

template <class T, int R, int V>
TRIB_TARGET_AVX512 inline __attribute__((always_inline)) void write_tile(const __m512 (&sum)[R][V],
                                                                         const Target& t) {
  const __m512 alpha = _mm512_set1_ps(t.alpha), beta = _mm512_set1_ps(t.beta);
#pragma GCC unroll 2
  for (int j = 0; j < V; ++j) {
    const __mmask16 mask = j == V - 1 ? t.last : static_cast<__mmask16>(0xFFFF);
    const __m512 bias =
        t.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, t.bias + 16 * j);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      __m512 value = _mm512_fmadd_ps(sum[i][j], alpha, bias);
      if (t.addend != nullptr) {
        const float* addend = t.addend + i * t.ld_addend + 16 * j;
        value = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, addend), beta, value);
      }
      if (t.is_bf16) {
        BFloat16* c = static_cast<BFloat16*>(t.c) + i * t.ldc + 16 * j;
        _mm256_mask_storeu_epi16(c, mask, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
      } else {
        _mm512_mask_storeu_ps(static_cast<float*>(t.c) + i * t.ldc + 16 * j, mask, value);
      }
    }
  }
}

// R rows of V vectors over `steps` along k, and half a step more if has_half.
template <class T, int R, int V>
TRIB_TARGET_AVX512 void run_tile(const Rows& a, const float* b, std::int64_t steps, bool has_half,
                                 const Target& t) {
  __m512 sum[R][V];
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < V; ++j) sum[i][j] = _mm512_setzero_ps();
  }
  // Four pointers for 12 rows, the others at once or twice the distance.
  const std::int64_t row = a.row_bytes;
  const std::byte* at[4] = {a.first, a.first + 3 * row, a.first + 6 * row, a.first + 9 * row};
  for (std::int64_t step = 0; step < steps; ++step) {
    __m512 b_step[V];
#pragma GCC unroll 2
    for (int j = 0; j < V; ++j) b_step[j] = _mm512_load_ps(b + 16 * j);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      const __m512 a_step = broadcast<std::uint32_t>(at[i / 3] + (i % 3) * row);
#pragma GCC unroll 2
      for (int j = 0; j < V; ++j) sum[i][j] = multiply_add<T>(a_step, b_step[j], sum[i][j]);
    }
    b += 16 * V;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) at[i] += a.step_bytes;
  }
  if (has_half) {
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      const __m512 a_step = broadcast<std::uint16_t>(at[i / 3] + (i % 3) * row);
#pragma GCC unroll 2
      for (int j = 0; j < V; ++j) {
        sum[i][j] = multiply_add<T>(a_step, _mm512_load_ps(b + 16 * j), sum[i][j]);
      }
    }
  }
  write_tile<T, R, V>(sum, t);
}

using RunTile = void (*)(const Rows&, const float*, std::int64_t, bool, const Target&);

template <class T, int V, int... R>
constexpr std::array<RunTile, sizeof...(R)> tiles_of(std::integer_sequence<int, R...>) {
  return {run_tile<T, R + 1, V>...};
}
// By type, vectors - 1 and rows - 1.
template <class T>
constexpr std::array<std::array<RunTile, kTileRows>, 2> kRunTile{
    tiles_of<T, 1>(std::make_integer_sequence<int, kTileRows>()),
    tiles_of<T, 2>(std::make_integer_sequence<int, kTileRows>())};

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

// Lanes from one panel to the next. The gaps keep panels that are filled together from driving each
// other out of the first-level cache; in that of a the last step's whole vector ends.
constexpr std::int64_t a_panel_lanes(std::int64_t steps) {
  return ceil_div(kTileRows * steps + 4, 16) * 16 + 16;
}
constexpr std::int64_t b_panel_lanes(std::int64_t steps) {
  return kTileColumns * (steps + 1);
}

// Memory of the calling thread for the operands and sums of the largest block there can be, so that
// it is made once; what smaller blocks leave untouched costs nothing. Not thread_scratch: callers
// of gemm_serial keep their own there.
Lane* packing_memory() {
  constexpr std::int64_t kLanes = kBlockColumns / kTileColumns * b_panel_lanes(kDepth) +
                                  ceil_div(kBlockRows, kTileRows) * a_panel_lanes(kDepth) +
                                  kBlockRows * kBlockColumns;
  struct Free {
    void operator()(Lane* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
  };
  thread_local const std::unique_ptr<Lane[], Free> memory(static_cast<Lane*>(
      ::operator new[](static_cast<std::size_t>(kLanes) * sizeof(Lane), std::align_val_t(64))));
  return memory.get();
}

// Boundary number i of the tiles' rows: as even as can be, because a tile of few rows is slow.
std::int64_t tile_row(const GemmProduct& p, std::int64_t i) {
  return i * p.m / ceil_div(p.m, kTileRows);
}

// Vectors of the panel of b that begins at column n0.
int panel_vectors(const GemmProduct& p, std::int64_t n0) {
  return p.n - n0 > 16 ? 2 : 1;
}

// All panels but a last narrow one are of two vectors, `to` takes the panels one after the other.
template <class T>
void pack_b(Lane* to, const GemmProduct& p, std::int64_t k0, std::int64_t depth) {
  const std::int64_t ld = p.b.ld, steps = ceil_div(depth, kPerLane<T>);
  for (std::int64_t n0 = 0; n0 < p.n;) {
    const T* const from = p.b.at(k0, n0).data.as<T>();
    const int vectors = panel_vectors(p, n0);
    std::int64_t columns = std::min(kTileColumns, p.n - n0);
    if (p.b.trans == Transpose::yes) {
      for (int v = 0; v < vectors; ++v) {
        detail::pack_rows(to + 16 * v, 16 * vectors, from + 16 * v * ld, ld,
                          std::min<std::int64_t>(columns - 16 * v, 16), depth);
      }
    } else {
      detail::Panels panels;
      panels.add(0, columns);
      while (panels.count < detail::Panels::kMax && n0 + columns < p.n &&
             panel_vectors(p, n0 + columns) == vectors) {
        const std::int64_t more = std::min(kTileColumns, p.n - n0 - columns);
        panels.add(columns, more);
        columns += more;
      }
      const std::int64_t width = 16 * vectors;
      if (vectors == 2) {
        detail::pack_columns<T, 2>(to, b_panel_lanes(steps), width, from, ld, panels, depth);
      } else {
        detail::pack_columns<T, 1>(to, b_panel_lanes(steps), width, from, ld, panels, depth);
      }
    }
    to += ceil_div(columns, kTileColumns) * b_panel_lanes(steps);
    n0 += columns;
  }
}

template <class T>
void pack_a(Lane* to, const GemmProduct& p, std::int64_t k0, std::int64_t depth) {
  const std::int64_t tiles = ceil_div(p.m, kTileRows);
  const std::int64_t panel_lanes = a_panel_lanes(ceil_div(depth, kPerLane<T>));
  for (std::int64_t tile = 0; tile < tiles;) {
    const std::int64_t first = tile, m0 = tile_row(p, tile);
    const T* const from = p.a.at(m0, k0).data.as<T>();
    if (p.a.trans == Transpose::yes) {
      detail::Panels panels;
      for (; tile < tiles && panels.count < detail::Panels::kMax; ++tile) {
        const std::int64_t row = tile_row(p, tile);
        panels.add(row - m0, tile_row(p, tile + 1) - row);
      }
      detail::pack_columns<T, 1>(to, panel_lanes, kTileRows, from, p.a.ld, panels, depth,
                                 p.row_sums == nullptr ? nullptr : p.row_sums + m0);
    } else {
      detail::pack_rows(to, kTileRows, from, p.a.ld, tile_row(p, tile + 1) - m0, depth);
      ++tile;
    }
    to += (tile - first) * panel_lanes;
  }
}

// A block of the plane and a part of k of it, packed.
template <class T>
struct Block {
  const GemmProduct& p;
  const Lane *a, *b;  // a null: read where it lies
  float* sums;        // null if c takes them, of `columns` a row
  std::int64_t columns, k0, depth;

  void run_tile(std::int64_t tile, std::int64_t n0) const {
    const std::int64_t steps = ceil_div(depth, kPerLane<T>);
    const std::int64_t m0 = tile_row(p, tile), rows = tile_row(p, tile + 1) - m0;
    const bool is_first = k0 == 0, is_last = k0 + depth == p.k;
    float* const sum = sums == nullptr ? nullptr : sums + m0 * columns + n0;
    const bool to_sums = sums != nullptr && !is_last;
    const FloatPtr c = to_sums ? FloatPtr(sum) : p.c + (m0 * p.ldc + n0);
    Target target{.c = c.as<float>(),
                  .ldc = to_sums ? columns : p.ldc,
                  .is_bf16 = c.is_bf16(),
                  .alpha = p.alpha,
                  .beta = is_first ? p.beta : 1.0F,
                  .addend = nullptr,
                  .ld_addend = sums != nullptr ? columns : p.ldc,
                  .bias = is_first && p.bias != nullptr ? p.bias + n0 : nullptr,
                  .last = detail::first_lanes((std::min(kTileColumns, p.n - n0) - 1) % 16 + 1)};
    if (target.beta != 0.0F) target.addend = sums != nullptr ? sum : c.as<float>();
    const auto run = kRunTile<T>[static_cast<std::size_t>(panel_vectors(p, n0) - 1)]
                                [static_cast<std::size_t>(rows - 1)];
    const auto* const panel =
        reinterpret_cast<const float*>(b + n0 / kTileColumns * b_panel_lanes(steps));
    if (a != nullptr) {
      const Lane* const first = a + tile * a_panel_lanes(steps);
      run({reinterpret_cast<const std::byte*>(first), 4, 4 * kTileRows}, panel, steps, false,
          target);
    } else {
      const T* const first = p.a.data.as<T>() + m0 * p.a.ld + k0;
      const auto row_bytes = p.a.ld * static_cast<std::int64_t>(sizeof(T));
      run({reinterpret_cast<const std::byte*>(first), row_bytes, 4}, panel, depth / kPerLane<T>,
          depth % kPerLane<T> != 0, target);
    }
  }

  void run() const {
    const std::int64_t tiles = ceil_div(p.m, kTileRows);
    const std::int64_t b_bytes = ceil_div(p.n, kTileColumns) *
                                 b_panel_lanes(ceil_div(depth, kPerLane<T>)) *
                                 static_cast<std::int64_t>(sizeof(Lane));
    if (b_bytes <= kCachedBytes) {
      // Whole rows of c one after the other, and rows of a only once.
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        for (std::int64_t n0 = 0; n0 < p.n; n0 += kTileColumns) run_tile(tile, n0);
      }
    } else {
      for (std::int64_t n0 = 0; n0 < p.n; n0 += kTileColumns) {
        for (std::int64_t tile = 0; tile < tiles; ++tile) run_tile(tile, n0);
      }
    }
  }
};

// A block of the plane, all of k.
template <class T>
void run_block(const GemmProduct& p) {
  const std::int64_t columns = ceil_div(p.n, 16) * 16;
  const std::int64_t depth_max = std::min(p.k, kDepth * kPerLane<T>);
  const std::int64_t steps_max = ceil_div(depth_max, kPerLane<T>);
  const bool packs_a = gemm_avx512_packs_a(p);
  // A result of bfloat16 is summed in float32 until the last part of k.
  const bool has_sums = p.c.is_bf16() && depth_max < p.k;
  const std::int64_t b_lanes = ceil_div(p.n, kTileColumns) * b_panel_lanes(steps_max);
  const std::int64_t a_lanes = packs_a ? ceil_div(p.m, kTileRows) * a_panel_lanes(steps_max) : 0;
  Lane* const b = packing_memory();
  Lane* const a = packs_a ? b + b_lanes : nullptr;
  auto* const sums = has_sums ? reinterpret_cast<float*>(b + b_lanes + a_lanes) : nullptr;
  for (std::int64_t k0 = 0; k0 < p.k; k0 += depth_max) {
    const std::int64_t depth = std::min(depth_max, p.k - k0);
    pack_b<T>(b, p, k0, depth);
    if (packs_a) pack_a<T>(a, p, k0, depth);
    Block<T>{p, a, b, sums, columns, k0, depth}.run();
  }
}

}  // namespace

bool has_gemm_avx512_f32() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma") &&
                          __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
  return has;
}

bool has_gemm_avx512_bf16() {
  static const bool has = has_gemm_avx512_f32() && __builtin_cpu_supports("avx512bf16");
  return has;
}

bool gemm_avx512_packs_a(const GemmProduct& p) {
  if (p.a.trans == Transpose::yes) return true;
  // Rows a multiple of a page apart would drive each other out of the first-level cache.
  const auto row_bytes = p.a.ld * static_cast<std::int64_t>(p.a.data.element_bytes());
  return row_bytes % 4096 == 0 && p.m >= kTileRows && p.n >= 8 * kTileColumns;
}

void gemm_avx512(const GemmProduct& p) {
  const std::int64_t row_blocks = ceil_div(p.m, kBlockRows);
  const std::int64_t block_rows = ceil_div(ceil_div(p.m, row_blocks), kTileRows) * kTileRows;
  for (std::int64_t n0 = 0; n0 < p.n; n0 += kBlockColumns) {
    const std::int64_t columns = std::min(kBlockColumns, p.n - n0);
    for (std::int64_t m0 = 0; m0 < p.m; m0 += block_rows) {
      const GemmProduct block = p.part(m0, std::min(block_rows, p.m - m0), n0, columns);
      if (p.a.data.is_bf16()) {
        run_block<BFloat16>(block);
      } else {
        run_block<float>(block);
      }
    }
  }
}

}  // namespace trib::ops

#else  // other processors

#include <cstdlib>

namespace trib::ops {

bool has_gemm_avx512_f32() {
  return false;
}
bool has_gemm_avx512_bf16() {
  return false;
}
bool gemm_avx512_packs_a(const GemmProduct& /*p*/) {
  return false;
}
void gemm_avx512(const GemmProduct& /*p*/) {
  std::abort();  // which nobody calls who has asked
}

}  // namespace trib::ops

#endif
