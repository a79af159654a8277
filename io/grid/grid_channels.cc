#include "io/grid/grid_channels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <fnmatch.h>

#include "io/channel_selection.h"
#include "io/grid/variable_names.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::optional<double> parse_level(std::string_view text) {
  double level = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), level);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return level;
}

// Whether a channel is that of a variable at a level: by the level's label or, in hPa, its number.
bool is_at(const GridChannel& c, std::string_view variable, std::string_view level) {
  if (c.variable != variable || level.empty()) return false;
  if (c.level == level) return true;
  const std::optional<double> hpa = parse_level(level);
  return hpa && std::abs(c.channel.level_hpa - *hpa) < 1e-6 * *hpa + 1e-9;
}

// Names for an error: all if there are few, else the first ones and the number.
std::string list_names(const std::vector<GridChannel>& offered) {
  constexpr std::size_t kShown = 40;
  std::vector<std::string_view> names;
  for (const GridChannel& c : offered) {
    if (names.size() < kShown) names.push_back(c.channel.name);
  }
  const std::size_t rest = offered.size() - names.size();
  return fmt::format("{}{}", fmt::join(names, ", "),
                     rest > 0 ? fmt::format(" and {} more", rest) : "");
}

class Selector {
 public:
  Selector(const std::vector<GridChannel>& offered, const std::string& place)
      : offered_(offered), place_(place) {}

  void add(const std::string& item) {
    item_ = item;
    if (const std::size_t at = item.find('@'); at != std::string::npos) {
      add_levels(short_variable_name(item.substr(0, at)), item.substr(at + 1));
    } else if (item.find_first_of("*?[") != std::string::npos) {
      take([&](const GridChannel& c) {
        return fnmatch(item.c_str(), c.channel.name.c_str(), 0) == 0 ||
               fnmatch(item.c_str(), long_channel_name(c).c_str(), 0) == 0;
      });
    } else {
      add_name(item);
    }
  }

  std::vector<std::size_t> chosen() && { return std::move(chosen_); }

 private:
  static std::string long_channel_name(const GridChannel& c) {
    return grid_channel_name(long_variable_name(c.variable), c.level);
  }

  // Take every channel that fits; throw if none does.
  template <class Fits>
  void take(Fits fits, const std::string& detail = "") {
    bool found = false;
    for (std::size_t i = 0; i < offered_.size(); ++i) {
      if (!fits(offered_[i])) continue;
      found = true;
      if (std::ranges::find(chosen_, i) == chosen_.end()) chosen_.push_back(i);
    }
    if (found) return;
    std::vector<std::string> names;
    for (const GridChannel& c : offered_) {
      names.push_back(c.channel.name);
      names.push_back(c.variable);
    }
    throw ConfigError(fmt::format("{}: no channel fits \"{}\"{}; it offers {}", place_, item_,
                                  detail.empty() ? suggest_channel(item_, names) : detail,
                                  list_names(offered_)));
  }

  void add_levels(const std::string& variable, std::string_view levels) {
    while (true) {
      const std::size_t comma = levels.find(',');
      std::string_view part = levels.substr(0, comma);
      while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
      take([&](const GridChannel& c) { return is_at(c, variable, part); },
           part.empty() ? " at a level without a name; expected for example \"t@500,850\""
                        : fmt::format(" at level {}", part));
      if (comma == std::string_view::npos) return;
      levels.remove_prefix(comma + 1);
    }
  }

  void add_name(const std::string& item) {
    const std::string variable = short_variable_name(item);
    // "temperature_850": a variable and a level, unless there is a variable of the whole name.
    std::string leveled;
    std::string_view level;
    if (const std::size_t bar = item.rfind('_'); bar != std::string::npos) {
      leveled = short_variable_name(item.substr(0, bar));
      level = std::string_view(item).substr(bar + 1);
    }
    take([&](const GridChannel& c) {
      return c.variable == variable || c.channel.name == item || is_at(c, leveled, level);
    });
  }

  const std::vector<GridChannel>& offered_;
  const std::string& place_;
  std::string item_;
  std::vector<std::size_t> chosen_;
};

}  // namespace

std::string grid_channel_name(const std::string& variable, const std::string& level) {
  return level.empty() ? variable : variable + "_" + level;
}

std::string grid_channel_name(const std::string& variable, double level_hpa) {
  return grid_channel_name(variable, std::isnan(level_hpa) ? "" : fmt::format("{:g}", level_hpa));
}

std::vector<std::size_t> select_grid_channels(const std::vector<GridChannel>& offered,
                                              const std::vector<std::string>& selection,
                                              const std::string& place) {
  if (selection.empty()) {
    std::vector<std::size_t> all(offered.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    return all;
  }
  Selector selector(offered, place);
  for (const std::string& item : selection) selector.add(item);
  return std::move(selector).chosen();
}

}  // namespace trib::io
