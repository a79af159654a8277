#include "io/channel_selection.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "io/wavelengths.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::size_t kNamesListed = 24;

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

/// Least number of inserted, removed and replaced characters between two words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

class Selector {
 public:
  Selector(const std::vector<Channel>& available, const std::string& file)
      : available_(available), file_(file) {}

  std::vector<std::int64_t> positions(const std::string& item) const {
    if (const auto position = find(item)) return {*position};
    if (const auto wavelength = parse_wavelength(item)) return {nearest(*wavelength, item)};
    const std::size_t dots = item.find("..");
    if (dots == std::string::npos) unknown(item);
    const std::string first = item.substr(0, dots);
    const std::string last = item.substr(dots + 2);
    const auto shortest = parse_wavelength(first);
    const auto longest = parse_wavelength(last);
    if (shortest && longest) return between(*shortest, *longest, item);

    const auto begin = find(first);
    const auto end = find(last);
    if (!begin) unknown(first);
    if (!end) unknown(last);
    if (*begin > *end) {
      throw ConfigError(fmt::format("{}: the range of channels '{}' runs backwards", file_, item));
    }
    std::vector<std::int64_t> range(static_cast<std::size_t>(*end - *begin + 1));
    std::iota(range.begin(), range.end(), *begin);
    return range;
  }

 private:
  std::optional<std::int64_t> find(const std::string& item) const {
    const auto named = std::find_if(available_.begin(), available_.end(),
                                    [&](const Channel& channel) { return channel.name == item; });
    if (named != available_.end()) return named - available_.begin();
    const auto number = parse_number<std::int64_t>(item);
    if (!number) return {};
    if (*number < 1 || *number > std::ssize(available_)) {
      throw ConfigError(
          fmt::format("{}: there is no channel {}, only 1..{}", file_, *number, available_.size()));
    }
    return *number - 1;
  }

  std::vector<std::int64_t> between(double shortest, double longest,
                                    const std::string& item) const {
    std::vector<std::int64_t> inside;
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    for (std::int64_t i = 0; i < std::ssize(available_); ++i) {
      const double wavelength = available_[static_cast<std::size_t>(i)].wavelength_nm;
      if (wavelength >= shortest && wavelength <= longest) inside.push_back(i);
      low = std::fmin(low, wavelength);
      high = std::fmax(high, wavelength);
    }
    if (inside.empty()) {
      throw ConfigError(
          high < low
              ? fmt::format("{}: channels '{}' are selected by wavelength, but the file gives none",
                            file_, item)
              : fmt::format("{}: no channel lies in '{}'; wavelengths are {}nm..{}nm", file_, item,
                            low, high));
    }
    return inside;
  }

  /// The channel nearest to a wavelength that is not bad, which must not lie further than its
  /// neighbours do.
  std::int64_t nearest(double wavelength, const std::string& item) const {
    const auto found = std::ranges::min_element(available_, {}, [&](const Channel& channel) {
      return spectral_distance(channel, wavelength);
    });
    if (found == available_.end() || std::isinf(spectral_distance(*found, wavelength))) {
      throw ConfigError(fmt::format(
          "{}: channel '{}' is selected by wavelength, but the file gives none", file_, item));
    }
    double gap = std::numeric_limits<double>::infinity();
    double low = found->wavelength_nm, high = low;
    for (const Channel& channel : available_) {
      if (channel.bad) continue;
      if (&channel != &*found)
        gap = std::min(gap, spectral_distance(channel, found->wavelength_nm));
      low = std::fmin(low, channel.wavelength_nm);
      high = std::fmax(high, channel.wavelength_nm);
    }
    if (spectral_distance(*found, wavelength) > gap) {
      throw ConfigError(
          fmt::format("{}: no channel lies near '{}'; the nearest is '{}', wavelengths are "
                      "{}nm..{}nm",
                      file_, item, found->name, low, high));
    }
    return found - available_.begin();
  }

  [[noreturn]] void unknown(const std::string& item) const {
    std::string offered;
    std::vector<std::string> names;
    for (const Channel& channel : available_) names.push_back(channel.name);
    for (std::size_t i = 0; i < std::min(available_.size(), kNamesListed); ++i) {
      offered += (i == 0 ? "" : ", ") + available_[i].name;
    }
    if (available_.size() > kNamesListed) {
      offered += fmt::format(", ... ({} in all)", available_.size());
    }
    throw ConfigError(fmt::format("{}: unknown channel '{}'{}; available: {}", file_, item,
                                  suggest_channel(item, names), offered));
  }

  const std::vector<Channel>& available_;
  const std::string& file_;
};

}  // namespace

std::string suggest_channel(std::string_view item, const std::vector<std::string>& names) {
  const std::string* closest = nullptr;
  std::size_t least = (item.size() + 1) / 2 + 1;  // half the letters may be wrong
  for (const std::string& name : names) {
    const std::size_t distance = edit_distance(item, name);
    if (distance < least) {
      least = distance;
      closest = &name;
    }
  }
  return closest != nullptr ? fmt::format(", did you mean '{}'?", *closest) : "";
}

std::vector<std::int64_t> select_channels(const std::vector<Channel>& available,
                                          const std::vector<std::string>& selection,
                                          const std::string& file) {
  std::vector<std::int64_t> selected;
  if (selection.empty()) {
    selected.resize(available.size());
    std::iota(selected.begin(), selected.end(), std::int64_t{0});
    return selected;
  }
  const Selector selector(available, file);
  std::vector<bool> taken(available.size(), false);
  for (const std::string& item : selection) {
    for (const std::int64_t position : selector.positions(item)) {
      const auto i = static_cast<std::size_t>(position);
      if (taken[i]) {
        throw ConfigError(fmt::format("{}: channel '{}' is selected twice, again by '{}'", file,
                                      available[i].name, item));
      }
      taken[i] = true;
      selected.push_back(position);
    }
  }
  return selected;
}

}  // namespace trib::io
