// Channel statistics as a JSON file: {"channels": {"t_850": {"mean": 281.3, "std": 15.6}, ...}}.
#pragma once

#include <string>

#include "pipeline/stage/stream_info.h"

namespace trib::pipeline {

/// Write statistics; throws RuntimeError if the file cannot be written.
void write_statistics(const std::string& path, const ChannelStatistics& statistics);

/// Read the statistics of `channels`, in that order. Throws DataError if the file cannot be read
/// and ConfigError if it lacks a channel.
ChannelStatistics read_statistics(const std::string& path,
                                  const std::vector<std::string>& channels);

}  // namespace trib::pipeline
