#include "io/unpack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace trib::io {
namespace {

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

template <class T, class IsMissing>
void unpack_with(const RawBlock& block, const Packing& packing, IsMissing is_missing, float* out) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  // Columns are taken in blocks so that channel-last files are read and written in cache lines.
  constexpr std::int64_t kColumns = 16;
  const auto [channels, rows, columns] = block.extents_cyx;
  const auto [stride_c, stride_y, stride_x] = block.strides_cyx;
  const T* first = reinterpret_cast<const T*>(block.first);
  const double scale = packing.scale, offset = packing.offset;
  const std::int64_t step = stride_x == 1 || channels == 1 ? columns : kColumns;
  for (std::int64_t y = 0; y < rows; ++y) {
    for (std::int64_t x0 = 0; x0 < columns; x0 += step) {
      const std::int64_t x1 = std::min(x0 + step, columns);
      for (std::int64_t c = 0; c < channels; ++c) {
        const T* from = first + c * stride_c + y * stride_y;
        float* to = out + (c * rows + y) * columns;
        for (std::int64_t x = x0; x < x1; ++x) {
          const T raw = from[x * stride_x];
          const auto value = static_cast<float>(static_cast<double>(raw) * scale + offset);
          to[x] = is_missing(raw) ? kNan : value;
        }
      }
    }
  }
}

template <class T>
void unpack_as(const RawBlock& block, const Packing& packing, float* out) {
  const std::vector<T> missing = representable<T>(packing.missing);
  if (packing.has_valid_range()) {
    return unpack_with<T>(
        block, packing,
        [&, low = packing.valid_min, high = packing.valid_max](T v) {
          const auto number = static_cast<double>(v);
          return !(number >= low && number <= high) ||
                 std::ranges::find(missing, v) != missing.end();
        },
        out);
  }
  switch (missing.size()) {
    case 0:
      return unpack_with<T>(
          block, packing, [](T) { return false; }, out);
    case 1:
      return unpack_with<T>(
          block, packing, [m = missing[0]](T v) { return v == m; }, out);
    default:
      return unpack_with<T>(
          block, packing, [&](T v) { return std::ranges::find(missing, v) != missing.end(); }, out);
  }
}

}  // namespace

void unpack(const RawBlock& block, const Packing& packing, float* out_cyx) {
  switch (block.dtype) {
    case DType::f32:
      return unpack_as<float>(block, packing, out_cyx);
    case DType::f64:
      return unpack_as<double>(block, packing, out_cyx);
    case DType::i8:
      return unpack_as<std::int8_t>(block, packing, out_cyx);
    case DType::i16:
      return unpack_as<std::int16_t>(block, packing, out_cyx);
    case DType::i32:
      return unpack_as<std::int32_t>(block, packing, out_cyx);
    case DType::i64:
      return unpack_as<std::int64_t>(block, packing, out_cyx);
    case DType::u8:
      return unpack_as<std::uint8_t>(block, packing, out_cyx);
    case DType::u16:
      return unpack_as<std::uint16_t>(block, packing, out_cyx);
    case DType::u32:
      return unpack_as<std::uint32_t>(block, packing, out_cyx);
    case DType::u64:
      return unpack_as<std::uint64_t>(block, packing, out_cyx);
  }
}

}  // namespace trib::io
