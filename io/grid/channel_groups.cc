#include <algorithm>
#include <cmath>
#include <map>

#include "io/grid/grid_channels.h"
#include "io/grid/grid_writer.h"

namespace trib::io {
namespace {

/// "t" of the channel "t_850"; empty for channels without a level in their name.
std::string variable_of(const Channel& channel) {
  if (!std::isfinite(channel.level_hpa)) return "";
  const std::string suffix = grid_channel_name("", channel.level_hpa);
  if (channel.name.size() <= suffix.size() || !channel.name.ends_with(suffix)) return "";
  return channel.name.substr(0, channel.name.size() - suffix.size());
}

}  // namespace

std::vector<ChannelGroup> group_channels(const std::vector<Channel>& channels) {
  std::map<std::string, std::size_t> on_levels;  // channels of each variable
  for (const Channel& channel : channels) ++on_levels[variable_of(channel)];
  const auto is_named = [&](const std::string& name) {
    return std::any_of(channels.begin(), channels.end(),
                       [&](const Channel& channel) { return channel.name == name; });
  };

  std::vector<ChannelGroup> groups;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const std::string variable = variable_of(channels[c]);
    if (variable.empty() || on_levels[variable] < 2 || is_named(variable)) {
      groups.push_back({channels[c].name, {c}, {}});
      continue;
    }
    auto group = std::find_if(groups.begin(), groups.end(), [&](const ChannelGroup& g) {
      return g.variable == variable && !g.levels_hpa.empty();
    });
    if (group == groups.end()) group = groups.insert(groups.end(), {variable, {}, {}});
    const double level = channels[c].level_hpa;
    const auto at = std::lower_bound(group->levels_hpa.begin(), group->levels_hpa.end(), level) -
                    group->levels_hpa.begin();
    group->levels_hpa.insert(group->levels_hpa.begin() + at, level);
    group->channels.insert(group->channels.begin() + at, c);
  }
  return groups;
}

}  // namespace trib::io
