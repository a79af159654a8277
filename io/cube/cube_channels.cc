#include "io/cube/cube_channels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "io/channel_selection.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// "550nm", "0.55um" in nanometres.
std::optional<double> parse_wavelength(std::string_view text) {
  double factor = 1;
  if (text.ends_with("nm")) {
    text.remove_suffix(2);
  } else if (text.ends_with("um")) {
    text.remove_suffix(2);
    factor = 1000;
  } else {
    return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value * factor;
}

// Name of the channel nearest to a wavelength, which must not lie further than its neighbours do.
std::string nearest_channel(const std::vector<Channel>& available, double wavelength,
                            const std::string& item, const std::string& file) {
  const Channel* nearest = nullptr;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Channel& c : available) {
    if (std::isnan(c.wavelength_nm)) continue;
    low = std::min(low, c.wavelength_nm);
    high = std::max(high, c.wavelength_nm);
    if (nearest == nullptr ||
        std::abs(c.wavelength_nm - wavelength) < std::abs(nearest->wavelength_nm - wavelength)) {
      nearest = &c;
    }
  }
  if (nearest == nullptr) {
    throw ConfigError(
        fmt::format("{}: channel \"{}\" is chosen by wavelength, but the file gives "
                    "none",
                    file, item));
  }
  double gap = std::numeric_limits<double>::infinity();
  for (const Channel& c : available) {
    if (&c != nearest) gap = std::fmin(gap, std::abs(c.wavelength_nm - nearest->wavelength_nm));
  }
  if (std::abs(nearest->wavelength_nm - wavelength) > gap) {
    throw ConfigError(
        fmt::format("{}: no channel near \"{}\"; the nearest is {}, they span "
                    "{}nm..{}nm",
                    file, item, nearest->name, low, high));
  }
  return nearest->name;
}

}  // namespace

std::vector<std::int64_t> select_cube_channels(const std::vector<Channel>& available,
                                               const std::vector<std::string>& selection,
                                               const std::string& file) {
  std::vector<std::string> items;
  for (const std::string& item : selection) {
    const bool is_name = std::ranges::find(available, item, &Channel::name) != available.end();
    const std::size_t dots = item.find("..");
    if (dots != std::string::npos) {
      const auto first = parse_wavelength(item.substr(0, dots));
      const auto last = parse_wavelength(item.substr(dots + 2));
      items.push_back(first && last ? fmt::format("{}nm..{}nm", *first, *last) : item);
    } else if (const auto wavelength = parse_wavelength(item); wavelength && !is_name) {
      items.push_back(nearest_channel(available, *wavelength, item, file));
    } else {
      items.push_back(item);
    }
  }
  return select_channels(available, items, file);
}

}  // namespace trib::io
