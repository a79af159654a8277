// Products of small matrices as blocked attention needs them, for one instruction set. Part of
// attention_block.inc.h; not a header of its own.
//
// Operands are arrays of units of 32 bits: a float32, or two bfloat16 that are neighbours along the
// inner axis. So the same loops serve both types; only the multiply-add of a unit differs.
//
//   a   any strides; one unit at a time is copied to all lanes of a vector
//   b   [inner, columns], a row a multiple of kLeastLanes units long and contiguous
//   c   [rows, columns] float32, row-major
//
// TRIB_LANES and TRIB_ACCUMULATORS say how many floats a vector register has, and how many
// registers may hold sums.

constexpr int kLanes = TRIB_LANES;
constexpr int kMaxVecs = TRIB_ACCUMULATORS >= 24 ? 4 : 2;

using Unit = std::uint32_t;
using AnyUnit = Unit __attribute__((may_alias, aligned(2)));  // of whatever type it was written
using Vec = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using UnitVec = Unit __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using HalfVec = std::uint16_t __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));

// What a row of a tile is made of: whole registers, or the lower half of one at the end of a row.
constexpr int kLeastLanes = kLanes > 4 ? kLanes / 2 : kLanes;
struct WholeRegister {
  static constexpr int kLength = kLanes;
  using Floats = Vec;
  using Units = UnitVec;
};
struct HalfRegister {
  static constexpr int kLength = kLeastLanes;
  using Floats = float __attribute__((vector_size(4 * kLeastLanes), aligned(4), may_alias));
  using Units = Unit __attribute__((vector_size(4 * kLeastLanes), aligned(4), may_alias));
};

inline Vec load(const float* from) {
  return *reinterpret_cast<const Vec*>(from);
}
inline Vec load(const BFloat16* from) {
  const auto halves = *reinterpret_cast<const HalfVec*>(from);
  return reinterpret_cast<Vec>(__builtin_convertvector(halves, UnitVec) << 16);
}

// 2^x for x up to 127, with a relative error below 2e-7; below the smallest normal number 0. The
// polynomial is that of Cephes' exp2f.
inline Vec exp2_of(Vec x) {
  constexpr float kRound = 0x1.8p23F;  // adding it leaves the nearest whole number in the low bits
  const Vec shifted = x + kRound;
  const Vec r = x - (shifted - kRound);  // in [-1/2, 1/2]
  Vec p = r * 1.535336188e-4F + 1.339887440e-3F;
  p = p * r + 9.618437357e-3F;
  p = p * r + 5.550332471e-2F;
  p = p * r + 2.402264791e-1F;
  p = p * r + 6.931472028e-1F;
  p = p * r + 1.0F;
  // Times 2^n: n goes straight into the exponent.
  const UnitVec bits = reinterpret_cast<UnitVec>(p) + (reinterpret_cast<UnitVec>(shifted) << 23);
  const Vec result = x < -126.0F ? Vec{} : reinterpret_cast<Vec>(bits);
  return x == x ? result : x;
}

inline void store(float* to, Vec x) {
  *reinterpret_cast<Vec*>(to) = x;
}
inline void store(BFloat16* to, Vec x) {
#ifdef TRIB_BFLOAT16_DOT
  // The processor's own rounding; numbers below the smallest normal one become 0.
  *reinterpret_cast<HalfVec*>(to) = reinterpret_cast<HalfVec>(_mm512_cvtneps_pbh(x));
#else
  const auto from = reinterpret_cast<UnitVec>(x);
  const UnitVec rounded = from + 0x7FFFU + ((from >> 16) & 1U);
  const UnitVec bits = x == x ? rounded : from | 0x400000U;
  *reinterpret_cast<HalfVec*>(to) = __builtin_convertvector(bits >> 16, HalfVec);
#endif
}

struct Float32Math {
  static constexpr int kPerUnit = 1;
  template <class Floats, class Units>
  static Floats multiply_add(Floats sum, Units a, Units b) {
    return sum + reinterpret_cast<Floats>(a) * reinterpret_cast<Floats>(b);
  }
};

#ifdef TRIB_BFLOAT16_DOT
struct BFloat16Math {
  static constexpr int kPerUnit = 2;
  template <class Floats, class Units>
  static Floats multiply_add(Floats sum, Units a, Units b) {
    // With the intrinsic GCC 12 copies all sums to memory at every step of the inner loop.
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }

  using Halves = std::uint16_t __attribute__((vector_size(4 * kLanes)));

  // The lanes of `first`, rounded, then those of `second`.
  static Halves rounded(const float* first, const float* second) {
    return reinterpret_cast<Halves>(_mm512_cvtne2ps_pbh(*reinterpret_cast<const Vec*>(second),
                                                        *reinterpret_cast<const Vec*>(first)));
  }
  static void store_pairs(Unit* to, Halves pairs) {
    *reinterpret_cast<UnitVec*>(to) = reinterpret_cast<UnitVec>(pairs);
  }

  // Neighbours become pairs: rows of `columns` numbers, filled up to twice kLanes.
  static void pair_along_rows(Unit* to, const float* from, std::int64_t ld, std::int64_t rows,
                              std::int64_t columns) {
    for (std::int64_t j = 0; j < rows; ++j, from += ld, to += ld / 2) {
      for (std::int64_t i = 0; i < columns; i += 2 * kLanes) {
        store_pairs(to + i / 2, rounded(from + i, from + i + kLanes));
      }
    }
  }

  // Rows 2j and 2j + 1 become one of pairs. An odd number of rows gets one more, of zeros.
  static void pair_rows(Unit* to, float* from, std::int64_t ld, std::int64_t rows,
                        std::int64_t columns) {
    Halves alternating;
    for (int i = 0; i < 2 * kLanes; ++i) {
      alternating[i] = static_cast<std::uint16_t>(i / 2 + i % 2 * kLanes);
    }
    if (rows % 2 != 0) std::fill_n(from + rows * ld, columns, 0.0F);
    for (std::int64_t j = 0; j < rows; j += 2, from += 2 * ld, to += ld) {
      for (std::int64_t i = 0; i < columns; i += kLanes) {
        store_pairs(to + i, __builtin_shuffle(rounded(from + i, from + ld + i), alternating));
      }
    }
  }
};
#endif

// Strides in units.
struct Left {
  const Unit* data;
  std::int64_t row_stride, inner_stride;

  Left from_row(std::int64_t row) const {
    return {data + row * row_stride, row_stride, inner_stride};
  }
  Left from_inner(std::int64_t inner) const {
    return {data + inner * inner_stride, row_stride, inner_stride};
  }
};
struct Right {
  const Unit* data;
  std::int64_t ld;
};
struct Sums {
  float* data;
  std::int64_t ld;
};

// A tile of kRows rows and kVecs vectors, held in registers over the whole inner axis.
template <class Math, class Register, bool kAdd, int kRows, int kVecs>
void tile(Sums c, Left a, Right b, std::int64_t inner) {
  using Floats = typename Register::Floats;
  using Units = typename Register::Units;
  constexpr int kLength = Register::kLength;
  Floats sum[kRows][kVecs];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) {
      sum[i][j] =
          kAdd ? *reinterpret_cast<const Floats*>(c.data + i * c.ld + j * kLength) : Floats{};
    }
  }
  // A pointer for every four rows: offsets of all rows would not fit the general registers, which
  // the compiler must not find out.
  constexpr int kGroups = (kRows + 3) / 4;
  const Unit* a_k[kGroups];
#pragma GCC unroll 4
  for (int group = 0; group < kGroups; ++group) {
    a_k[group] = a.data + 4 * group * a.row_stride;
    asm("" : "+r"(a_k[group]));
  }
  const Unit* b_k = b.data;
  for (std::int64_t k = 0; k < inner; ++k, b_k += b.ld) {
    Units b_row[kVecs];
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) b_row[j] = *reinterpret_cast<const Units*>(b_k + j * kLength);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Unit lane = *reinterpret_cast<const AnyUnit*>(a_k[i / 4] + i % 4 * a.row_stride);
      const Units a_unit = Units{} + lane;
#pragma GCC unroll 4
      for (int j = 0; j < kVecs; ++j) {
        sum[i][j] = Math::multiply_add(sum[i][j], a_unit, b_row[j]);
      }
    }
#pragma GCC unroll 4
    for (const Unit*& group : a_k) group += a.inner_stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) {
      *reinterpret_cast<Floats*>(c.data + i * c.ld + j * kLength) = sum[i][j];
    }
  }
}

// All rows of kVecs vectors: tiles of kRows, then smaller ones.
template <class Math, class Register, bool kAdd, int kRows, int kVecs>
void column_panel(Sums c, Left a, const Right& b, std::int64_t rows, std::int64_t inner) {
  for (; rows >= kRows; rows -= kRows) {
    tile<Math, Register, kAdd, kRows, kVecs>(c, a, b, inner);
    c.data += kRows * c.ld;
    a.data += kRows * a.row_stride;
  }
  if constexpr (kRows > 1) {
    constexpr int kFewer = kRows > 8 ? 8 : kRows > 4 ? 4 : kRows / 2;
    if (rows > 0) column_panel<Math, Register, kAdd, kFewer, kVecs>(c, a, b, rows, inner);
  }
}

template <class Math, bool kAdd, int kVecs = kMaxVecs>
void column_panels(Sums c, const Left& a, Right b, std::int64_t rows, std::int64_t columns,
                   std::int64_t inner) {
  constexpr int kRows = std::min(TRIB_ACCUMULATORS / kVecs, 16);
  for (; columns >= kVecs * kLanes; columns -= kVecs * kLanes) {
    column_panel<Math, WholeRegister, kAdd, kRows, kVecs>(c, a, b, rows, inner);
    c.data += kVecs * kLanes;
    b.data += kVecs * kLanes;
  }
  if (columns == 0) return;
  if constexpr (kVecs > 1) {
    column_panels<Math, kAdd, kVecs - 1>(c, a, b, rows, columns, inner);
  } else if constexpr (kLeastLanes < kLanes) {
    column_panel<Math, HalfRegister, kAdd, kRows, 1>(c, a, b, rows, inner);
  }
}

// c = a b, or c += a b. `columns` is a multiple of kLeastLanes, `inner` counts units.
template <class Math>
void product(bool add, const Sums& c, const Left& a, const Right& b, std::int64_t rows,
             std::int64_t columns, std::int64_t inner) {
  if (add) {
    column_panels<Math, true>(c, a, b, rows, columns, inner);
  } else {
    column_panels<Math, false>(c, a, b, rows, columns, inner);
  }
}

// Lane number `lane` of the pair (x, y) exchanged in blocks of kStep lanes: one step of a
// transposition. The first result takes the even blocks of both, the second the odd ones.
template <int kStep>
[[gnu::always_inline]] inline void exchange(UnitVec& x, UnitVec& y) {
  UnitVec even, odd;
  for (int i = 0; i < kLanes; ++i) {
    const auto lane = static_cast<Unit>(i);
    even[i] = (i & kStep) == 0 ? lane : lane - kStep + kLanes;
    odd[i] = (i & kStep) == 0 ? lane + kStep : lane + kLanes;
  }
  const UnitVec low = __builtin_shuffle(x, y, even);
  y = __builtin_shuffle(x, y, odd);
  x = low;
}

template <int kStep>
[[gnu::always_inline]] inline void exchange_all(UnitVec (&rows)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if ((i & kStep) == 0) exchange<kStep>(rows[i], rows[i + kStep]);
  }
  if constexpr (kStep > 1) exchange_all<kStep / 2>(rows);
}

// to[j][i] = from[i][j]; rows and columns multiples of kLanes.
inline void transpose(Unit* to, std::int64_t to_ld, const Unit* from, std::int64_t from_ld,
                      std::int64_t rows, std::int64_t columns) {
  for (std::int64_t i0 = 0; i0 < rows; i0 += kLanes) {
    for (std::int64_t j0 = 0; j0 < columns; j0 += kLanes) {
      UnitVec block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        block[i] = *reinterpret_cast<const UnitVec*>(from + (i0 + i) * from_ld + j0);
      }
      exchange_all<kLanes / 2>(block);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) {
        *reinterpret_cast<UnitVec*>(to + (j0 + j) * to_ld + i0) = block[j];
      }
    }
  }
}
