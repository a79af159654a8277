#include "io/cube/cube_channels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "io/channel_selection.h"
#include "io/cube/wavelengths.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// Name of the channel nearest to a wavelength, which must not lie further than its neighbours do.
std::string nearest_channel(const std::vector<Channel>& available, double wavelength,
                            const std::string& item, const std::string& file) {
  const Channel* nearest = nullptr;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Channel& c : available) {
    if (std::isnan(c.wavelength_nm) || c.bad) continue;
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
    if (&c != nearest && !c.bad)
      gap = std::fmin(gap, std::abs(c.wavelength_nm - nearest->wavelength_nm));
  }
  if (std::abs(nearest->wavelength_nm - wavelength) > gap) {
    throw ConfigError(
        fmt::format("{}: no channel near \"{}\"; the nearest is {}, they span "
                    "{}nm..{}nm",
                    file, item, nearest->name, low, high));
  }
  return nearest->name;
}

// The item as select_channels() understands it: wavelengths in nm, and the nearest channel's name
// for one that stands alone.
std::string as_selection(const std::vector<Channel>& available, const std::string& item,
                         const std::string& file) {
  if (std::ranges::find(available, item, &Channel::name) != available.end()) return item;
  if (const std::size_t dots = item.find(".."); dots != std::string::npos) {
    const auto first = parse_wavelength(item.substr(0, dots));
    const auto last = parse_wavelength(item.substr(dots + 2));
    return first && last ? fmt::format("{}nm..{}nm", *first, *last) : item;
  }
  const auto wavelength = parse_wavelength(item);
  return wavelength ? nearest_channel(available, *wavelength, item, file) : item;
}

bool is_range(const std::vector<Channel>& available, const std::string& item) {
  return item.find("..") != std::string::npos &&
         std::ranges::find(available, item, &Channel::name) == available.end();
}

// Mark the bands in a range of wavelengths; false if the item is none.
bool mark_wavelengths(std::vector<Channel>& bands, const std::string& item) {
  const std::size_t dots = item.find("..");
  if (dots == std::string::npos) return false;
  const auto first = parse_wavelength(item.substr(0, dots));
  const auto last = parse_wavelength(item.substr(dots + 2));
  if (!first || !last) return false;
  for (Channel& b : bands) b.bad = b.bad || (b.wavelength_nm >= *first && b.wavelength_nm <= *last);
  return true;
}

}  // namespace

void mark_bad_bands(std::vector<Channel>& bands, const std::vector<std::string>& wishes,
                    const std::string& file) {
  const auto wished = [&](const char* word) {
    return std::ranges::find(wishes, word) != wishes.end();
  };
  if (wished("keep") && wishes.size() > 1) {
    throw ConfigError("bad_bands: keep stands alone; with it no band is dropped");
  }
  if (!wished("drop")) {
    for (Channel& b : bands) b.bad = false;
  }
  for (const std::string& item : wishes) {
    if (item == "drop" || item == "keep" || mark_wavelengths(bands, item)) continue;
    std::vector<Channel> unmarked = bands;
    for (Channel& b : unmarked) b.bad = false;
    for (const std::int64_t i : select_bands(unmarked, {item}, file)) {
      bands[static_cast<std::size_t>(i)].bad = true;
    }
  }
}

std::vector<std::int64_t> select_bands(const std::vector<Channel>& bands,
                                       const std::vector<std::string>& selection,
                                       const std::string& file) {
  std::vector<std::string> items;
  for (const std::string& item : selection) items.push_back(as_selection(bands, item, file));
  for (std::size_t i = 0; i < items.size(); ++i) {
    const bool range = is_range(bands, items[i]);
    bool any_good = false;
    const std::vector<std::int64_t> chosen = select_channels(bands, {items[i]}, file);
    for (const std::int64_t c : chosen) any_good |= !bands[static_cast<std::size_t>(c)].bad;
    if (any_good) continue;
    throw ConfigError(
        fmt::format("{}: {} '{}' {} bad ({}); bad_bands: keep would read {}", file,
                    range ? "all channels in" : "channel", selection[i], range ? "are" : "is",
                    bands[static_cast<std::size_t>(chosen.front())].name, range ? "them" : "it"));
  }
  return select_channels(bands, items, file);
}

}  // namespace trib::io
