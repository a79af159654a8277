#include "io/unpack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace trib::io {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Channel-last pixels are turned in tiles of so many pixels and channels.
constexpr std::int64_t kTile = 16;
using TileOfFloats = float[kTile][kTile];  // [x][c]

// The missing numbers an element of type T can take.
template <class T>
std::vector<T> representable(const std::vector<double>& values) {
  std::vector<T> out;
  for (const double v : values) {
    if constexpr (std::is_integral_v<T>) {
      // Compared as long double: 2^64 - 1 has no double.
      const long double wide = v;
      if (!std::isfinite(v) || v != std::trunc(v) || wide < std::numeric_limits<T>::min() ||
          wide > std::numeric_limits<T>::max()) {
        continue;
      }
    }
    const T value = static_cast<T>(v);
    if (std::ranges::find(out, value) == out.end()) out.push_back(value);
  }
  return out;
}

// Scale and offset of each channel.
struct Lines {
  std::vector<double> scale, offset;
  bool are_identity = true;

  Lines(const Packing& packing, std::span<const Affine> affine_c, std::int64_t channels) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
      const Packing line = packing.then(affine_c.empty() ? Affine{} : affine_c[c]);
      scale.push_back(line.scale);
      offset.push_back(line.offset);
      are_identity = are_identity && line.scale == 1 && line.offset == 0;
    }
  }
};

// Turn a tile: out[c * stride + x] = tile[x][c].
void write_turned(const TileOfFloats& tile, std::int64_t stride, float* out) {
  using Four [[gnu::vector_size(16)]] = float;
  struct [[gnu::packed, gnu::may_alias]] Unaligned {
    Four v;
  };
  for (std::int64_t c = 0; c < kTile; c += 4) {
    for (std::int64_t x = 0; x < kTile; x += 4) {
      const auto row = [&](std::int64_t i) {
        return reinterpret_cast<const Unaligned*>(&tile[x + i][c])->v;
      };
      const Four low01 = __builtin_shufflevector(row(0), row(1), 0, 4, 1, 5);
      const Four low23 = __builtin_shufflevector(row(2), row(3), 0, 4, 1, 5);
      const Four high01 = __builtin_shufflevector(row(0), row(1), 2, 6, 3, 7);
      const Four high23 = __builtin_shufflevector(row(2), row(3), 2, 6, 3, 7);
      const auto write = [&](std::int64_t i, Four v) {
        reinterpret_cast<Unaligned*>(out + (c + i) * stride + x)->v = v;
      };
      write(0, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
      write(1, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
      write(2, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
      write(3, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
    }
  }
}

// Converts blocks of elements of type T, of which IsMissing knows the missing ones. Identity: the
// values are the numbers themselves.
template <class T, class IsMissing, bool kIdentity>
struct Converter {
  IsMissing is_missing;
  const Lines& lines;

  float value(T raw, double scale, double offset) const {
    if constexpr (kIdentity) {
      return is_missing(raw) ? kNan : static_cast<float>(raw);
    } else {
      const auto v = static_cast<float>(static_cast<double>(raw) * scale + offset);
      return is_missing(raw) ? kNan : v;
    }
  }

  // A row of one channel.
  void row(const T* from, std::int64_t stride, std::int64_t count, std::size_t c, float* to) const {
    const double scale = lines.scale[c], offset = lines.offset[c];
    if (stride == 1) {
      for (std::int64_t x = 0; x < count; ++x) to[x] = value(from[x], scale, offset);
    } else if (stride == -1) {
      for (std::int64_t x = 0; x < count; ++x) to[x] = value(from[-x], scale, offset);
    } else {
      for (std::int64_t x = 0; x < count; ++x) to[x] = value(from[x * stride], scale, offset);
    }
  }

  // Pixels of a row whose channels are neighbours in the file.
  void pixels(const T* from, std::int64_t stride_x, std::int64_t columns, std::int64_t channels,
              std::int64_t out_stride, float* out) const {
    alignas(64) TileOfFloats tile;
    const double* scale = lines.scale.data();
    const double* offset = lines.offset.data();
    for (std::int64_t x0 = 0; x0 < columns; x0 += kTile) {
      const std::int64_t width = std::min(kTile, columns - x0);
      for (std::int64_t c0 = 0; c0 < channels; c0 += kTile) {
        const std::int64_t depth = std::min(kTile, channels - c0);
        float* to = out + c0 * out_stride + x0;
        if (width == kTile && depth == kTile) {
          for (std::int64_t x = 0; x < kTile; ++x) {
            const T* pixel = from + (x0 + x) * stride_x + c0;
            for (std::int64_t c = 0; c < kTile; ++c) {
              tile[x][c] = value(pixel[c], scale[c0 + c], offset[c0 + c]);
            }
          }
          write_turned(tile, out_stride, to);
          continue;
        }
        for (std::int64_t c = 0; c < depth; ++c) {
          for (std::int64_t x = 0; x < width; ++x) {
            to[c * out_stride + x] =
                value(from[(x0 + x) * stride_x + c0 + c], scale[c0 + c], offset[c0 + c]);
          }
        }
      }
    }
  }

  void block(const RawBlock& raw, const ValueBlock& out) const {
    const auto [channels, rows, columns] = raw.extents_cyx;
    const auto [stride_c, stride_y, stride_x] = raw.strides_cyx;
    const T* first = reinterpret_cast<const T*>(raw.first);
    if (stride_c == 1 && channels > 1) {
      for (std::int64_t y = 0; y < rows; ++y) {
        pixels(first + y * stride_y, stride_x, columns, channels, out.stride_c,
               out.first + y * out.stride_y);
      }
      return;
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t y = 0; y < rows; ++y) {
        row(first + c * stride_c + y * stride_y, stride_x, columns, static_cast<std::size_t>(c),
            out.first + c * out.stride_c + y * out.stride_y);
      }
    }
  }
};

template <class T, class IsMissing>
void unpack_with(const RawBlock& block, const Lines& lines, IsMissing is_missing,
                 const ValueBlock& out) {
  if (lines.are_identity) {
    Converter<T, IsMissing, true>{is_missing, lines}.block(block, out);
  } else {
    Converter<T, IsMissing, false>{is_missing, lines}.block(block, out);
  }
}

template <class T>
void unpack_as(const RawBlock& block, const Packing& packing, const Lines& lines,
               const ValueBlock& out) {
  const std::vector<T> missing = representable<T>(packing.missing);
  const auto is_listed = [&missing](T v) { return std::ranges::find(missing, v) != missing.end(); };
  if (packing.has_valid_range()) {
    const auto is_missing = [&, low = packing.valid_min, high = packing.valid_max](T v) {
      const auto number = static_cast<double>(v);
      return !(number >= low && number <= high) || is_listed(v);
    };
    return unpack_with<T>(block, lines, is_missing, out);
  }
  switch (missing.size()) {
    case 0:
      return unpack_with<T>(
          block, lines, [](T) { return false; }, out);
    case 1:
      return unpack_with<T>(
          block, lines, [m = missing[0]](T v) { return v == m; }, out);
    case 2:
      return unpack_with<T>(
          block, lines, [m = missing[0], n = missing[1]](T v) { return v == m || v == n; }, out);
    default:
      return unpack_with<T>(block, lines, is_listed, out);
  }
}

}  // namespace

void unpack(const RawBlock& block, const Packing& packing, std::span<const Affine> affine_c,
            const ValueBlock& out) {
  const Lines lines(packing, affine_c, block.extents_cyx[0]);
  switch (block.dtype) {
    case DType::f32:
      return unpack_as<float>(block, packing, lines, out);
    case DType::f64:
      return unpack_as<double>(block, packing, lines, out);
    case DType::i8:
      return unpack_as<std::int8_t>(block, packing, lines, out);
    case DType::i16:
      return unpack_as<std::int16_t>(block, packing, lines, out);
    case DType::i32:
      return unpack_as<std::int32_t>(block, packing, lines, out);
    case DType::i64:
      return unpack_as<std::int64_t>(block, packing, lines, out);
    case DType::u8:
      return unpack_as<std::uint8_t>(block, packing, lines, out);
    case DType::u16:
      return unpack_as<std::uint16_t>(block, packing, lines, out);
    case DType::u32:
      return unpack_as<std::uint32_t>(block, packing, lines, out);
    case DType::u64:
      return unpack_as<std::uint64_t>(block, packing, lines, out);
    case DType::bf16:  // which no packed field has
      return;
  }
}

void unpack(const RawBlock& block, const Packing& packing, float* out_cyx) {
  const std::int64_t columns = block.extents_cyx[2];
  unpack(block, packing, {}, {out_cyx, block.extents_cyx[1] * columns, columns});
}

}  // namespace trib::io
