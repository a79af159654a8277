// Channels as weighted means of a cube's bands: binned, or resampled to another sensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/image.h"

namespace trib::io {

/// A channel as the mean of bands. Weights sum to 1; a band taken as it is has the weight 1.
struct SpectralChannel {
  Channel channel;
  std::vector<std::int64_t> bands;  ///< ascending
  std::vector<float> weights;       ///< as many
};

/// A band of the sensor to resample to.
struct SpectralTarget {
  double centre_nm = kUnknown, fwhm_nm = kUnknown;
  std::string name;  ///< empty: by wavelength
};

/// The selected bands as they are, without the bad ones. Throws ConfigError if none remains.
std::vector<SpectralChannel> take_bands(const std::vector<Channel>& bands,
                                        const std::vector<std::int64_t>& selected,
                                        const std::string& file);

/// Means of `count` bands that follow each other in the file; a gap in the selection begins a new
/// mean. Bad bands have no part in theirs. Means of less than half of `count` bands are left out.
/// The wavelength is the mean of the bands', the width reaches from the first to the last.
/// Throws ConfigError if none remains.
std::vector<SpectralChannel> bin_bands(const std::vector<Channel>& bands,
                                       const std::vector<std::int64_t>& selected,
                                       std::int64_t count, const std::string& file);

/// Channels of another sensor: each the mean of the selected bands, weighted by a Gaussian response
/// of the target's full width at half maximum at the bands' centres, exp(-4 ln 2 (d / fwhm)^2), as
/// spectral libraries are resampled to image bands (ENVI: Spectral Library Resampling). Bands
/// further than two widths have no part. Throws ConfigError for a target that has no usable band
/// within one width.
std::vector<SpectralChannel> resample_bands(const std::vector<Channel>& bands,
                                            const std::vector<std::int64_t>& selected,
                                            const std::vector<SpectralTarget>& targets,
                                            const std::string& file);

/// Targets from centres and widths ("450nm", "0.45um"): one width for all or as many as centres.
/// Without widths each is the mean distance to the neighbouring centres. Throws ConfigError.
std::vector<SpectralTarget> spectral_targets(const std::vector<std::string>& centres,
                                             const std::vector<std::string>& widths);

/// Targets from a table with a line of column names, among them "wavelength" and "fwhm" and perhaps
/// "name", separated by commas. Values are nanometres, or micrometres if all wavelengths are below
/// 100. Throws DataError with file and line.
std::vector<SpectralTarget> read_sensor_table(const std::string& path);

}  // namespace trib::io
