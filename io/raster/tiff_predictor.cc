#include "io/raster/tiff_predictor.h"

#include <cstring>
#include <memory>
#include <type_traits>

namespace trib::io {
namespace {

/// `Lanes` numbers that are added at once; the compiler makes what the processor has of them.
template <class T, int Lanes>
struct Vector {
  typedef T Type __attribute__((vector_size(Lanes * sizeof(T))));
};

template <class V, class T>
V load(const T* from) {
  V v;
  std::memcpy(&v, from, sizeof(V));
  return v;
}

template <class V, class T>
void store(const V& v, T* to) {
  std::memcpy(to, &v, sizeof(V));
}

/// The vector moved up by `Shift` lanes, with zeros in those that come free.
template <int Shift, int Lanes, class V>
V shifted(const V& v) {
  V index{};
  for (int lane = 0; lane < Lanes; ++lane) {
    index[lane] =
        static_cast<std::remove_cvref_t<decltype(v[0])>>(lane < Shift ? Lanes : lane - Shift);
  }
  return __builtin_shuffle(v, V{}, index);
}

/// Running sums along a row with one sample a pixel.
template <class T>
void sum_single(T* row, std::int64_t count) {
  constexpr int kLanes = 16 / sizeof(T);
  using V = typename Vector<T, kLanes>::Type;
  T carry = 0;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    V v = load<V>(row + i);
    v += shifted<1, kLanes>(v);
    if constexpr (kLanes > 2) v += shifted<2, kLanes>(v);
    if constexpr (kLanes > 4) v += shifted<4, kLanes>(v);
    if constexpr (kLanes > 8) v += shifted<8, kLanes>(v);
    v += carry;
    carry = v[kLanes - 1];
    store(v, row + i);
  }
  for (; i < count; ++i) row[i] = carry = static_cast<T>(carry + row[i]);
}

/// Running sums of a few samples a pixel.
template <class T, int Samples>
void sum_few(T* row, std::int64_t pixels) {
  T sum[Samples] = {};
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (int s = 0; s < Samples; ++s) {
      row[p * Samples + s] = sum[s] = static_cast<T>(sum[s] + row[p * Samples + s]);
    }
  }
}

/// Running sums of Lanes / 2 < samples <= Lanes samples a pixel. Lanes beyond the samples hold the
/// beginning of the next pixel, which is therefore loaded before they are stored over it.
template <class T, int Lanes>
void sum_vector(T* row, std::int64_t pixels, std::int64_t samples) {
  using V = typename Vector<T, Lanes>::Type;
  if (pixels < 2) return;
  V sum{};
  V next = load<V>(row);
  for (std::int64_t p = 0; p + 2 < pixels; ++p) {
    sum += next;
    next = load<V>(row + (p + 1) * samples);
    store(sum, row + p * samples);
  }
  // The last two: beyond them lies another row.
  T* last = row + (pixels - 2) * samples;
  sum += next;
  for (std::int64_t s = 0; s < samples; ++s) {
    last[s] = sum[s];
    last[samples + s] = static_cast<T>(last[samples + s] + last[s]);
  }
}

/// Running sums of many samples a pixel.
template <class T>
void sum_many(T* row, std::int64_t pixels, std::int64_t samples) {
  for (std::int64_t p = 1; p < pixels; ++p) {
    const T* __restrict left = row + (p - 1) * samples;
    T* __restrict here = row + p * samples;
    for (std::int64_t s = 0; s < samples; ++s) here[s] = static_cast<T>(here[s] + left[s]);
  }
}

template <class T>
void sum_row(T* row, std::int64_t pixels, std::int64_t samples) {
  constexpr std::int64_t kMost = 64 / sizeof(T);
  switch (samples) {
    case 1:
      return sum_single(row, pixels);
    case 2:
      return sum_few<T, 2>(row, pixels);
    case 3:
      return sum_few<T, 3>(row, pixels);
    case 4:
      return sum_few<T, 4>(row, pixels);
    default:
      if (samples <= 8 && kMost >= 8) return sum_vector<T, 8>(row, pixels, samples);
      if constexpr (kMost >= 16) {
        if (samples <= 16) return sum_vector<T, 16>(row, pixels, samples);
      }
      if constexpr (kMost >= 32) {
        if (samples <= 32) return sum_vector<T, 32>(row, pixels, samples);
      }
      return sum_many(row, pixels, samples);
  }
}

template <class T>
void sum_rows(std::span<std::byte> rows, std::int64_t row_bytes, std::int64_t samples) {
  const std::int64_t pixels = row_bytes / (samples * static_cast<std::int64_t>(sizeof(T)));
  for (std::size_t at = 0; at < rows.size(); at += static_cast<std::size_t>(row_bytes)) {
    sum_row(reinterpret_cast<T*>(rows.data() + at), pixels, samples);
  }
}

template <class T>
void swap_all(std::span<std::byte> samples) {
  auto* values = reinterpret_cast<T*>(samples.data());
  const std::size_t count = samples.size() / sizeof(T);
  for (std::size_t i = 0; i < count; ++i) {
    if constexpr (sizeof(T) == 2) values[i] = __builtin_bswap16(values[i]);
    if constexpr (sizeof(T) == 4) values[i] = __builtin_bswap32(values[i]);
    if constexpr (sizeof(T) == 8) values[i] = __builtin_bswap64(values[i]);
  }
}

/// Values from planes of their bytes, the most significant plane first.
template <class T>
void join_bytes(const std::uint8_t* planes, std::int64_t count, T* values) {
  constexpr int kBytes = sizeof(T);
  for (std::int64_t i = 0; i < count; ++i) {
    T value = 0;
    for (int b = 0; b < kBytes; ++b) value = value << 8 | planes[b * count + i];
    values[i] = value;
  }
}

}  // namespace

void undo_horizontal(std::span<std::byte> rows, std::int64_t row_bytes, std::int64_t samples,
                     std::size_t sample_bytes) {
  switch (sample_bytes) {
    case 1:
      return sum_rows<std::uint8_t>(rows, row_bytes, samples);
    case 2:
      return sum_rows<std::uint16_t>(rows, row_bytes, samples);
    case 4:
      return sum_rows<std::uint32_t>(rows, row_bytes, samples);
    default:
      return sum_rows<std::uint64_t>(rows, row_bytes, samples);
  }
}

void undo_floating_point(std::span<std::byte> rows, std::int64_t row_bytes, std::int64_t samples,
                         std::size_t sample_bytes) {
  const auto bytes = static_cast<std::size_t>(row_bytes);
  const auto planes = std::make_unique_for_overwrite<std::uint8_t[]>(bytes);
  for (std::size_t at = 0; at < rows.size(); at += bytes) {
    std::byte* row = rows.data() + at;
    std::memcpy(planes.get(), row, bytes);
    sum_row(planes.get(), row_bytes / samples, samples);
    const auto count = static_cast<std::int64_t>(bytes / sample_bytes);
    if (sample_bytes == 4) {
      join_bytes(planes.get(), count, reinterpret_cast<std::uint32_t*>(row));
    } else {
      join_bytes(planes.get(), count, reinterpret_cast<std::uint64_t*>(row));
    }
  }
}

void swap_bytes(std::span<std::byte> samples, std::size_t sample_bytes) {
  switch (sample_bytes) {
    case 2:
      return swap_all<std::uint16_t>(samples);
    case 4:
      return swap_all<std::uint32_t>(samples);
    case 8:
      return swap_all<std::uint64_t>(samples);
    default:
      return;
  }
}

}  // namespace trib::io
