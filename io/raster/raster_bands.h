// What a GDAL dataset says about its bands.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/image.h"
#include "io/raster/gdal_dataset.h"

class GDALRasterBand;

namespace trib::io {

/// How the stored samples of one band become values: value = sample * scale + offset.
struct BandCoding {
  int number = 0;  ///< from 1, as in GDAL
  std::int64_t sample_bytes = 0;
  std::optional<float> nodata;  ///< as it comes out of GDAL's conversion to float
  double scale = 1, offset = 0;
  /// Samples are signed, though GDAL before 3.7 gives them as 0..255.
  bool signed_bytes = false;
  /// Missing pixels are told by a mask of the file, by one of this band alone (own_mask), or by
  /// zeros of an alpha band that is not the mask (its number, else 0).
  bool masked = false;
  bool own_mask = false;
  int alpha = 0;
  bool operator==(const BandCoding&) const = default;
};

struct RasterBand {
  Channel channel;
  BandCoding coding;
  std::string dtype;      ///< GDAL's name: "UInt16"
  bool is_alpha = false;  ///< tells which pixels are valid, and is no data unless asked for by name
};

/// Describe all bands. Channels take the band's description as name, else its wavelength, else
/// "B01", "B02", ..., or "alpha"; names that occur more than once get "#" and the band number
/// appended. A band counts as alpha if the file says so and does not describe it as something else.
/// Throws DataError if there are no bands (naming the subdatasets) or complex samples.
std::vector<RasterBand> describe_bands(const GdalDataset& dataset);

/// Whether a band of GDAL's type Byte stores signed numbers.
bool has_signed_bytes(GDALRasterBand& band);

/// Georeference of a dataset's pixels, null if it has none.
std::shared_ptr<const GeoReference> describe_georeference(const GdalDataset& dataset);

/// Subdatasets by the name that opens them.
std::vector<std::string> list_subdatasets(const GdalDataset& dataset);

}  // namespace trib::io
