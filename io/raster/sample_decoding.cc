#include "io/raster/sample_decoding.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace trib::io {
namespace {

constexpr std::int64_t kPiece = 128;  // samples that are decoded at once, from the L1 cache
constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

template <class T>
float to_float(T sample) {
  if constexpr (std::is_same_v<T, double>) {
    // GDAL: what is beyond the largest float is infinite, even if it would be rounded down to it.
    constexpr double kLargest = std::numeric_limits<float>::max();
    constexpr double kInfinite = std::numeric_limits<double>::infinity();
    sample = sample > kLargest ? kInfinite : sample;
    sample = sample < -kLargest ? -kInfinite : sample;
  }
  return static_cast<float>(sample);
}

/// `samples` and `out` must not overlap.
template <class T>
void decode_piece(const SampleDecoding& decoding, const T* __restrict samples, std::int64_t count,
                  float* __restrict out) {
  const double scale = decoding.scale, offset = decoding.offset;
  const float nodata = decoding.nodata;
  if (scale == 1 && offset == 0) {
    for (std::int64_t i = 0; i < count; ++i) {
      const float stored = to_float(samples[i]);
      out[i] = stored == nodata ? kMissing : stored;
    }
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const float stored = to_float(samples[i]);
    const auto value = static_cast<float>(stored * scale + offset);
    out[i] = stored == nodata ? kMissing : value;
  }
}

template <class T>
void decode_as(const SampleDecoding& decoding, const std::byte* from, std::int64_t stride,
               std::int64_t count, float* out) {
  T piece[kPiece];
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t samples = std::min(kPiece, count - begin);
    const std::byte* first = from + begin * stride * static_cast<std::int64_t>(sizeof(T));
    if (stride == 1) {
      std::memcpy(piece, first, static_cast<std::size_t>(samples) * sizeof(T));
    } else {
      for (std::int64_t i = 0; i < samples; ++i) {
        std::memcpy(&piece[i], first + i * stride * static_cast<std::int64_t>(sizeof(T)),
                    sizeof(T));
      }
    }
    decode_piece(decoding, piece, samples, out + begin);
  }
}

}  // namespace

SampleDecoding::SampleDecoding(const BandCoding& coding, const Affine& affine)
    : scale(coding.scale * affine.scale),
      offset(coding.offset * affine.scale + affine.offset),
      nodata(coding.nodata.value_or(kMissing)) {}

void decode_samples(const SampleDecoding& decoding, DType dtype, const std::byte* from,
                    std::int64_t stride, std::int64_t count, float* out) {
  switch (dtype) {
    case DType::f32:
      return decode_as<float>(decoding, from, stride, count, out);
    case DType::f64:
      return decode_as<double>(decoding, from, stride, count, out);
    case DType::i8:
      return decode_as<std::int8_t>(decoding, from, stride, count, out);
    case DType::i16:
      return decode_as<std::int16_t>(decoding, from, stride, count, out);
    case DType::i32:
      return decode_as<std::int32_t>(decoding, from, stride, count, out);
    case DType::i64:
      return decode_as<std::int64_t>(decoding, from, stride, count, out);
    case DType::u8:
      return decode_as<std::uint8_t>(decoding, from, stride, count, out);
    case DType::u16:
      return decode_as<std::uint16_t>(decoding, from, stride, count, out);
    case DType::u32:
      return decode_as<std::uint32_t>(decoding, from, stride, count, out);
    case DType::u64:
      return decode_as<std::uint64_t>(decoding, from, stride, count, out);
    case DType::bf16:  // which no raster has
      return;
  }
}

void decode_samples(const SampleDecoding& decoding, std::int64_t count, float* values) {
  if (decoding.scale == 1 && decoding.offset == 0 && !(decoding.nodata == decoding.nodata)) return;
  decode_samples(decoding, DType::f32, reinterpret_cast<const std::byte*>(values), 1, count,
                 values);
}

}  // namespace trib::io
