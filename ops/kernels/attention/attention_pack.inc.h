// Queries, keys and values as operands of the products of attention_tile.inc.h, and results back as
// rows of numbers. Part of attention_block.inc.h; not a header of its own.
//
// Most operands are used where they lie. Copied are bfloat16 to be multiplied along the tokens,
// whose pairs lie in different rows, bfloat16 on processors that cannot multiply them, which become
// float32, and rows that fill no vector.

#include "ops/kernels/attention/attention_tile.inc.h"

constexpr std::int64_t kQueries = kAttentionQueries;

template <class Math>
constexpr std::int64_t units(std::int64_t count) {
  return (count + Math::kPerUnit - 1) / Math::kPerUnit;
}

inline std::int64_t round_up_lanes(std::int64_t count) {
  return (count + kLanes - 1) / kLanes * kLanes;
}

// What products compute and read of so many columns; what whole vectors hold beyond is rubbish.
inline std::int64_t product_columns(std::int64_t count) {
  return (count + kLeastLanes - 1) / kLeastLanes * kLeastLanes;
}

// Rows of `dim` numbers as units along the row, zeros up to `row_units`.
template <class Math, class Float>
void pack_rows(Unit* to, std::int64_t row_units, const Float* from, std::int64_t ld,
               std::int64_t rows, std::int64_t dim) {
  for (std::int64_t i = 0; i < rows; ++i, to += row_units, from += ld) {
    if constexpr (Math::kPerUnit == 2) {
      auto* const row = reinterpret_cast<std::uint16_t*>(to);
      std::memcpy(row, from, static_cast<std::size_t>(dim) * 2);
      std::fill(row + dim, row + 2 * row_units, std::uint16_t{0});
    } else {
      auto* const row = reinterpret_cast<float*>(to);
#pragma omp simd
      for (std::int64_t d = 0; d < dim; ++d) row[d] = static_cast<float>(from[d]);
      std::fill(row + dim, row + row_units, 0.0F);
    }
  }
}

// Units along the column: of bfloat16, rows 2i and 2i + 1 become one row of pairs. Zeros up to
// `row_units` and for the row that an odd number lacks.
template <class Math, class Float>
void pack_columns(Unit* to, std::int64_t row_units, const Float* from, std::int64_t ld,
                  std::int64_t rows, std::int64_t dim) {
  if constexpr (Math::kPerUnit == 1) {
    pack_rows<Math>(to, row_units, from, ld, rows, dim);
  } else {
    for (std::int64_t i = 0; i < rows; i += 2, to += row_units, from += 2 * ld) {
      if (i + 1 < rows) {
        const Float* const second = from + ld;
#pragma omp simd
        for (std::int64_t d = 0; d < dim; ++d) {
          to[d] = from[d].bits | static_cast<Unit>(second[d].bits) << 16;
        }
      } else {
        for (std::int64_t d = 0; d < dim; ++d) to[d] = from[d].bits;
      }
      std::fill(to + dim, to + row_units, 0U);
    }
  }
}

// Numbers that are units where they lie need no packing.
template <class Math, class Float>
constexpr bool kIsUnit = Math::kPerUnit == 1 && sizeof(Float) == sizeof(Unit);

// Whether rows of numbers are rows of units where they lie, if not of single ones then of pairs.
template <class Math, class Float>
bool are_rows_of_units(std::int64_t ld, std::int64_t dim) {
  return kIsUnit<Math, Float> || (Math::kPerUnit == 2 && dim % 2 == 0 && ld % 2 == 0);
}

// The matrix of keys or values, units along the row: the left operand of products over dims.
template <class Math, class Float>
Left rows_of_units(Unit* scratch, const Float* from, std::int64_t ld, std::int64_t rows,
                   std::int64_t dim) {
  if (are_rows_of_units<Math, Float>(ld, dim)) {
    return {reinterpret_cast<const Unit*>(from), ld / Math::kPerUnit, 1};
  }
  pack_rows<Math>(scratch, units<Math>(dim), from, ld, rows, dim);
  return {scratch, units<Math>(dim), 1};
}

// The same for products over the keys: transposed, units along the column.
template <class Math, class Float>
Left columns_of_units(Unit* scratch, const Float* from, std::int64_t ld, std::int64_t rows,
                      std::int64_t dim) {
  if constexpr (kIsUnit<Math, Float>) return {reinterpret_cast<const Unit*>(from), 1, ld};
  pack_columns<Math>(scratch, dim, from, ld, rows, dim);
  return {scratch, 1, dim};
}

// Queries or gradients of outputs as the right operand of products over queries.
template <class Math, class Float>
Right right_of_units(Unit* scratch, std::int64_t row, const Float* from, std::int64_t ld,
                     std::int64_t rows, std::int64_t dim) {
  if constexpr (kIsUnit<Math, Float>) {
    if (product_columns(dim) == dim) return {reinterpret_cast<const Unit*>(from), ld};
  }
  pack_columns<Math>(scratch, row, from, ld, rows, dim);
  return {scratch, row};
}

// Rows of numbers to [dim units, kQueries], zeros in the lanes beyond `rows`.
template <class Math, class Float>
void transpose_rows(Unit* to, Unit* scratch, const Float* from, std::int64_t ld, std::int64_t rows,
                    std::int64_t dim) {
  const std::int64_t lanes = round_up_lanes(rows), columns = round_up_lanes(units<Math>(dim));
  if (are_rows_of_units<Math, Float>(ld, dim) && rows == lanes && units<Math>(dim) == columns) {
    transpose(to, kQueries, reinterpret_cast<const Unit*>(from), ld / Math::kPerUnit, lanes,
              columns);
    return;
  }
  pack_rows<Math>(scratch, columns, from, ld, rows, dim);
  std::fill_n(scratch + rows * columns, (lanes - rows) * columns, 0U);
  transpose(to, kQueries, scratch, columns, lanes, columns);
}

// Rows of `dim` numbers, times `factor`. Those of `from` are whole vectors.
template <class Float>
void unpack_rows(Float* to, std::int64_t ld, const float* from, std::int64_t from_ld,
                 std::int64_t rows, std::int64_t dim, float factor) {
  for (std::int64_t i = 0; i < rows; ++i, to += ld, from += from_ld) {
    std::int64_t d = 0;
    for (; d + kLanes <= dim; d += kLanes) store(to + d, factor * load(from + d));
    if (d < dim) {
      Float rest[kLanes];
      store(rest, factor * load(from + d));
      std::copy_n(rest, dim - d, to + d);
    }
  }
}
