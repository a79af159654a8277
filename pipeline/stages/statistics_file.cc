#include "pipeline/stages/statistics_file.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "ops/base/error.h"
#include "pipeline/graph/suggest.h"
#include "pipeline/graph/value_json.h"
#include "pipeline/observe/run_folder.h"

namespace trib::pipeline {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "tributary statistics";
constexpr int kVersion = 1;
constexpr double kStepsPerDegree = 1e6;

/// Null if unknown, since JSON has no NaN.
Json number_or_null(double value) {
  return std::isnan(value) ? Json(nullptr) : Json(value);
}

double number_or_unknown(const Json& json, const char* key) {
  const auto at = json.find(key);
  return at == json.end() || at->is_null() ? io::kUnknown : at->get<double>();
}

double number_or_zero(const Json& json, const char* key) {
  const auto at = json.find(key);
  return at == json.end() ? 0 : at->get<double>();
}

// Archives write the same unit as "m**2 s**-2", "m^2 s^-2" and "m2 s-2".
std::string plain_units(const std::string& units) {
  std::string plain;
  for (const char c : units) {
    if (c != '*' && c != '^' && c != ' ') plain += c;
  }
  return plain;
}

Json channels_json(const std::vector<ChannelSummary>& channels) {
  Json json = Json::object();
  for (const ChannelSummary& channel : channels) {
    json[channel.name] = {{"units", channel.units},
                          {"count", static_cast<std::int64_t>(channel.count)},
                          {"total", static_cast<std::int64_t>(channel.total)},
                          {"mean", channel.mean},
                          {"std", channel.std},
                          {"min", number_or_null(channel.min)},
                          {"max", number_or_null(channel.max)}};
  }
  return json;
}

ChannelSummary channel_of(const std::string& name, const Json& json) {
  ChannelSummary channel;
  channel.name = name;
  channel.units = json.value("units", "");
  channel.count = number_or_zero(json, "count");
  channel.total = number_or_zero(json, "total");
  channel.mean = json.at("mean").get<double>();
  channel.std = json.at("std").get<double>();
  channel.min = number_or_unknown(json, "min");
  channel.max = number_or_unknown(json, "max");
  if (!std::isfinite(channel.mean) || !std::isfinite(channel.std) || channel.std < 0) {
    throw DataError(
        fmt::format("channel '{}' has mean {} and std {}", name, channel.mean, channel.std));
  }
  return channel;
}

Json grid_json(const GridMark& grid) {
  if (grid.hash.empty()) return nullptr;
  return {{"latitudes", grid.latitudes},
          {"longitudes", grid.longitudes},
          {"first", {grid.first.first, grid.first.second}},
          {"last", {grid.last.first, grid.last.second}},
          {"hash", grid.hash}};
}

GridMark grid_of(const Json& json) {
  GridMark grid;
  if (json.is_null()) return grid;
  json.at("latitudes").get_to(grid.latitudes);
  json.at("longitudes").get_to(grid.longitudes);
  json.at("first").get_to(grid.first);
  json.at("last").get_to(grid.last);
  json.at("hash").get_to(grid.hash);
  return grid;
}

Json origin_json(const StatisticsOrigin& origin) {
  Json json = {{"graph", origin.graph},     {"node", origin.node},
               {"split", origin.split},     {"samples", origin.samples},
               {"skipped", origin.skipped}, {"num_files", origin.num_files},
               {"files", origin.files}};
  json["first_time"] = number_or_null(origin.first_time);
  json["last_time"] = number_or_null(origin.last_time);
  return json;
}

StatisticsOrigin origin_of(const Json& json) {
  StatisticsOrigin origin;
  origin.graph = json.value("graph", "");
  origin.node = json.value("node", "");
  origin.split = json.value("split", "");
  origin.samples = json.value("samples", std::int64_t{0});
  origin.skipped = json.value("skipped", std::int64_t{0});
  origin.num_files = json.value("num_files", std::int64_t{0});
  origin.files = json.value("files", std::vector<std::string>{});
  origin.first_time = number_or_unknown(json, "first_time");
  origin.last_time = number_or_unknown(json, "last_time");
  return origin;
}

}  // namespace

ChannelSummary ChannelSummary::of(const io::Channel& channel, const Moments& moments) {
  ChannelSummary summary{channel.name,  channel.units, moments.count,
                         moments.total, moments.mean,  moments.std()};
  if (moments.count > 0) {
    summary.min = moments.min;
    summary.max = moments.max;
  }
  return summary;
}

GridMark GridMark::of(const std::shared_ptr<const io::LatLonGrid>& grid) {
  GridMark mark;
  if (grid == nullptr || grid->latitudes.empty() || grid->longitudes.empty()) return mark;
  mark.latitudes = std::ssize(grid->latitudes);
  mark.longitudes = std::ssize(grid->longitudes);
  mark.first = {grid->latitudes.front(), grid->longitudes.front()};
  mark.last = {grid->latitudes.back(), grid->longitudes.back()};
  // Files of one grid differ in the last digits of their coordinates.
  std::vector<std::int64_t> steps{mark.latitudes, mark.longitudes};
  for (const auto* axis : {&grid->latitudes, &grid->longitudes}) {
    for (const double degrees : *axis) steps.push_back(std::llround(degrees * kStepsPerDegree));
  }
  mark.hash = fmt::format("{:016x}", XXH3_64bits(steps.data(), steps.size() * sizeof steps[0]));
  return mark;
}

std::string GridMark::text() const {
  if (hash.empty()) return "no latitude-longitude grid";
  return fmt::format("{} x {} cells from ({:.6g}, {:.6g}) to ({:.6g}, {:.6g})", latitudes,
                     longitudes, first.first, first.second, last.first, last.second);
}

std::vector<io::Channel> measured_channels(const StreamInfo& info) {
  std::vector<io::Channel> channels = info.channels;
  for (const io::Channel& target : info.targets) {
    const bool is_known = std::any_of(channels.begin(), channels.end(), [&](const auto& channel) {
      return channel.name == target.name;
    });
    if (!is_known) channels.push_back(target);
  }
  return channels;
}

void write_statistics(const std::string& path, const StatisticsFile& statistics) {
  const Json json = {{"format", kFormat},
                     {"version", kVersion},
                     {"channels", channels_json(statistics.channels)},
                     {"grid", grid_json(statistics.grid)},
                     {"made_from", origin_json(statistics.origin)}};
  write_text_file(path, json_text(json, 2) + "\n");
}

StatisticsFile read_statistics_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw DataError(fmt::format("{}: cannot read statistics", path));
  StatisticsFile statistics;
  try {
    const Json json = Json::parse(file);
    if (json.contains("version") && json.at("version") != kVersion) {
      throw DataError(fmt::format("{}: statistics of version {}, expected {}", path,
                                  json.at("version").dump(), kVersion));
    }
    for (const auto& [name, channel] : json.at("channels").items()) {
      statistics.channels.push_back(channel_of(name, channel));
    }
    statistics.knows_grid = json.contains("grid");
    if (statistics.knows_grid) statistics.grid = grid_of(json.at("grid"));
    if (json.contains("made_from")) statistics.origin = origin_of(json.at("made_from"));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: not a statistics file: {}", path, error.what()));
  } catch (const DataError& error) {
    const std::string message = error.what();
    throw DataError(message.starts_with(path) ? message : fmt::format("{}: {}", path, message));
  }
  return statistics;
}

ChannelStatistics matching_statistics(const StatisticsFile& file, const std::string& path,
                                      const std::vector<io::Channel>& channels,
                                      const std::shared_ptr<const io::LatLonGrid>& grid) {
  const GridMark expected = GridMark::of(grid);
  if (!file.grid.hash.empty() && !expected.hash.empty() && file.grid.hash != expected.hash) {
    throw ConfigError(fmt::format("{}: was measured on another grid: found {}, expected {}", path,
                                  file.grid.text(), expected.text()));
  }
  ChannelStatistics statistics;
  std::vector<std::string> names;
  for (const ChannelSummary& found : file.channels) names.push_back(found.name);
  for (const io::Channel& channel : channels) {
    const auto at = std::find(names.begin(), names.end(), channel.name);
    if (at == names.end()) {
      throw ConfigError(fmt::format("{}: has no statistics of channel '{}'{}; it has {} others",
                                    path, channel.name, did_you_mean(channel.name, names),
                                    names.size()));
    }
    const ChannelSummary& found = file.channels[static_cast<std::size_t>(at - names.begin())];
    if (!found.units.empty() && !channel.units.empty() &&
        plain_units(found.units) != plain_units(channel.units)) {
      throw ConfigError(
          fmt::format("{}: channel '{}' was measured in other units: found '{}', expected '{}'",
                      path, channel.name, found.units, channel.units));
    }
    statistics.channels.push_back(channel.name);
    statistics.mean.push_back(found.mean);
    statistics.std.push_back(found.std);
  }
  return statistics;
}

}  // namespace trib::pipeline
