// The CF conventions' names of variables.
#pragma once

#include <string>
#include <string_view>

namespace trib::io {

/// CF standard name of a variable by its short name ("t": "air_temperature"), empty if it has none
/// that fits without more said of it.
std::string standard_name(std::string_view short_name);

}  // namespace trib::io
