// Wavelengths as text, and bands named by them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/image.h"

namespace trib::io {

/// "550nm", "550.2 nm", "0.55um" in nanometres; nothing for other texts.
std::optional<double> parse_wavelength(std::string_view text);

/// How far from a wavelength in nanometres a channel is centred; infinity if it is bad or its
/// wavelength is not known.
double spectral_distance(const Channel& channel, double wavelength_nm);

/// Factor to nanometres by the units' name, else by size: no optical band lies below 100 nm, and
/// none beyond 100 micrometres.
double nanometres_per(const std::string& units, const std::vector<double>& values);

/// Name channels by their wavelengths, "550.2nm", with as many decimals (up to three) as keep them
/// apart. False, and no name changed, if a wavelength is unknown or two are the same.
bool name_by_wavelength(std::vector<Channel>& channels);

}  // namespace trib::io
