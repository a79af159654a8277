// The pixels of a window of one open file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/image_source.h"
#include "io/raster/gdal_dataset.h"
#include "io/raster/raster_bands.h"

namespace trib::io {

using Codings = std::vector<BandCoding>;

/// Read a window, which lies within the dataset, of these bands: physical values through the
/// target's affine maps, NaN where a band's nodata value, a mask or an alpha band says that there
/// is nothing. `names` are the bands' channels, for messages; target.affine is empty or has an
/// element for each. Returns the bytes decoded, as ImageSource::bytes_decoded() counts them.
/// Throws DataError naming the file and the first channel that cannot be read.
std::int64_t read_pixels(const GdalDataset& dataset, const Codings& codings,
                         std::span<const std::string> names, const Window& window,
                         const PixelTarget& target);

/// "[y 0..10, x 5..15)"
std::string to_string(const Window& window);

}  // namespace trib::io
