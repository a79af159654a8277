// Choosing bands of hyperspectral cubes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/image.h"

namespace trib::io {

/// Mark the bands that are not to be used (Channel::bad) as `wishes` say: "drop" leaves the marks
/// of the file, "keep" (alone) takes all away, and bands are marked instead by wavelength range
/// ("1340nm..1445nm", which may be empty), wavelength, name, number from 1 or range of these.
/// Throws ConfigError for a wish that names no band.
void mark_bad_bands(std::vector<Channel>& bands, const std::vector<std::string>& wishes,
                    const std::string& file);

/// Positions of the selected bands in `bands`, as select_channels() gives them. Ranges include bad
/// bands; a band named by itself may not be bad. Throws ConfigError.
std::vector<std::int64_t> select_bands(const std::vector<Channel>& bands,
                                       const std::vector<std::string>& selection,
                                       const std::string& file);

}  // namespace trib::io
