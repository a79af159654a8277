// Choosing channels of gridded fields by name.
#pragma once

#include <string>
#include <vector>

#include "io/image.h"

namespace trib::io {

/// Channel a set of grid files offers.
struct GridChannel {
  Channel channel;
  std::string variable;  ///< short name, without the level
  std::string level;     ///< GridLevel::label
};

/// Name of a channel: "t2m" for a surface variable, "t_850" for a level in hPa, "t_l137" for one of
/// a model.
std::string grid_channel_name(const std::string& variable, const std::string& level);
/// The same for a level of pressure, which may be NaN for a surface variable.
std::string grid_channel_name(const std::string& variable, double level_hpa);

/// Choose channels, in the order of the selection; what is chosen twice counts once. An item of
/// the selection is
///   "t2m"         a channel by name, or all levels of a variable ("z");
///   "z_500"       one level;
///   "t@500,850"   several levels of a variable ("t@l136,l137" on those of a model);
///   "*_850", "u*" every channel whose name fits the wildcards (* ? [..]).
/// Variables may go by their short or long names ("temperature_850", "2m_temperature"). An empty
/// selection takes all. Returns indexes into `offered`. Throws ConfigError for an item that fits
/// nothing, with the names `place` (a file or files) offers.
std::vector<std::size_t> select_grid_channels(const std::vector<GridChannel>& offered,
                                              const std::vector<std::string>& selection,
                                              const std::string& place);

}  // namespace trib::io
