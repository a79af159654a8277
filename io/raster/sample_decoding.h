// From stored samples of a raster to the values that leave the reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "io/image.h"
#include "io/raster/raster_bands.h"
#include "ops/base/dtype.h"

namespace trib::io {

/// value = sample * scale + offset in double, NaN where the sample, as a float, is `nodata`.
struct SampleDecoding {
  double scale = 1, offset = 0;
  float nodata = std::numeric_limits<float>::quiet_NaN();  ///< NaN: no sample means missing

  /// What a band's coding and the caller's wish make together.
  SampleDecoding(const BandCoding& coding, const Affine& affine);
};

/// Decode `count` samples that lie `stride` elements apart. Samples become floats as GDAL converts
/// them, so that it does not matter who read them. `from` need not be aligned.
void decode_samples(const SampleDecoding& decoding, DType dtype, const std::byte* from,
                    std::int64_t stride, std::int64_t count, float* out);

/// Decode samples that are floats already, in place.
void decode_samples(const SampleDecoding& decoding, std::int64_t count, float* values);

}  // namespace trib::io
