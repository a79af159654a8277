#include "pipeline/stages/statistics_file.h"

#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "pipeline/observe/run_folder.h"

namespace trib::pipeline {
using nlohmann::ordered_json;

void write_statistics(const std::string& path, const ChannelStatistics& statistics) {
  ordered_json channels = ordered_json::object();
  for (std::size_t c = 0; c < statistics.channels.size(); ++c) {
    channels[statistics.channels[c]] = {{"mean", statistics.mean[c]}, {"std", statistics.std[c]}};
  }
  write_text_file(path, ordered_json{{"channels", channels}}.dump(2) + "\n");
}

ChannelStatistics read_statistics(const std::string& path,
                                  const std::vector<std::string>& channels) {
  std::ifstream file(path);
  if (!file) throw DataError(fmt::format("{}: cannot read statistics", path));
  ChannelStatistics statistics;
  try {
    const ordered_json json = ordered_json::parse(file);
    const ordered_json& by_name = json.at("channels");
    for (const std::string& name : channels) {
      if (!by_name.contains(name)) {
        throw ConfigError(fmt::format("{}: has no statistics of channel '{}'", path, name));
      }
      statistics.channels.push_back(name);
      statistics.mean.push_back(by_name.at(name).at("mean").get<double>());
      statistics.std.push_back(by_name.at(name).at("std").get<double>());
    }
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: not a statistics file: {}", path, error.what()));
  }
  return statistics;
}

}  // namespace trib::pipeline
