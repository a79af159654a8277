#include "io/wavelengths.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "io/text.h"

namespace trib::io {

std::optional<double> parse_wavelength(std::string_view text) {
  double factor = 1;
  if (text.ends_with("um")) {
    factor = 1000;
  } else if (!text.ends_with("nm")) {
    return std::nullopt;
  }
  text.remove_suffix(2);
  while (text.ends_with(' ')) text.remove_suffix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value * factor;
}

double spectral_distance(const Channel& channel, double wavelength_nm) {
  const double apart = std::abs(channel.wavelength_nm - wavelength_nm);
  return std::isnan(apart) || channel.bad ? std::numeric_limits<double>::infinity() : apart;
}

double nanometres_per(const std::string& units, const std::vector<double>& values) {
  const std::string u = lower(units);
  if (u.find("nano") != std::string::npos || u == "nm") return 1;
  if (u.find("micro") != std::string::npos || u == "um" || u == "\xc2\xb5m" || u == "\xce\xbcm") {
    return 1000;
  }
  if (u == "m" || u == "meter" || u == "meters" || u == "metre" || u == "metres") return 1e9;
  if (u.starts_with("angstr") || u == "\xc3\xa5" || u == "\xc3\x85") return 0.1;
  return values.empty() || std::ranges::max(values) >= 100 ? 1 : 1000;
}

bool name_by_wavelength(std::vector<Channel>& channels) {
  if (std::ranges::any_of(channels, [](const Channel& c) { return std::isnan(c.wavelength_nm); })) {
    return false;
  }
  for (const int decimals : {1, 2, 3}) {
    const auto name = [&](const Channel& c) {
      return fmt::format("{:.{}f}nm", c.wavelength_nm, decimals);
    };
    std::set<std::string> names;
    for (const Channel& c : channels) names.insert(name(c));
    if (names.size() < channels.size()) continue;
    for (Channel& c : channels) c.name = name(c);
    return true;
  }
  return false;
}

}  // namespace trib::io
