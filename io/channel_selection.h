// Choice of channels by number, name or range, the same for every reader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/image.h"

namespace trib::io {

/// Positions in `available` of the channels that `selection` names, in the order of `selection`.
/// An item is a channel's name ("B04", "t_850"), its number counted from 1 ("4"), an inclusive
/// range of either ("2..5", "B02..B05"), or of wavelengths ("400nm..900nm"), or a wavelength
/// ("550nm") for the nearest channel, which must not lie further than its neighbours do. A name
/// wins over a number. An empty selection means all channels. Throws ConfigError, naming `file` and
/// what it offers, if an item selects nothing or a channel is selected twice.
std::vector<std::int64_t> select_channels(const std::vector<Channel>& available,
                                          const std::vector<std::string>& selection,
                                          const std::string& file);

/// ", did you mean 'B04'?" with the name closest to `item`, or nothing if none is near.
std::string suggest_channel(std::string_view item, const std::vector<std::string>& names);

}  // namespace trib::io
