#include "io/cube/cube_channels.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/channel_selection.h"
#include "io/wavelengths.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

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
  for (const std::string& item : selection) {
    const bool range = is_range(bands, item);
    bool any_good = false;
    const std::vector<std::int64_t> chosen = select_channels(bands, {item}, file);
    for (const std::int64_t c : chosen) any_good |= !bands[static_cast<std::size_t>(c)].bad;
    if (any_good) continue;
    throw ConfigError(fmt::format("{}: {} '{}' {} bad ({}); bad_bands: keep would read {}", file,
                                  range ? "all channels in" : "channel", item, range ? "are" : "is",
                                  bands[static_cast<std::size_t>(chosen.front())].name,
                                  range ? "them" : "it"));
  }
  return select_channels(bands, selection, file);
}

}  // namespace trib::io
