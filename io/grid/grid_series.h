// Several grid files as one series of images.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/grid/grid_channels.h"
#include "io/grid/grid_file.h"

namespace trib::io {

/// Where a channel lies within a file.
struct ChannelPlace {
  std::int32_t variable = -1;  ///< index into GridHeader::variables, -1 if the file lacks it
  std::int32_t level = 0;
};

/// Where the fields of one time are.
struct TimeSlot {
  std::int32_t file = 0;
  std::int32_t time = 0;  ///< index into GridHeader::times
  bool operator==(const TimeSlot&) const = default;
};

/// Files joined: a table from channel and time to file and position.
struct GridSeries {
  std::vector<GridHeader> files;
  std::vector<Channel> channels;
  std::vector<std::vector<ChannelPlace>> places;  ///< [file][channel]
  std::vector<double> times;                      ///< NaN where unknown
  std::int64_t num_members = 1;
  /// Slots of all times; channels that share their files share a timeline.
  std::vector<std::vector<TimeSlot>> timelines;
  std::vector<std::size_t> timeline_of_channel;
};

/// Select channels and times and check that the files make one series without holes. Arguments as
/// in GridOptions. Throws ConfigError or DataError.
GridSeries join_grid_files(std::vector<GridHeader> files, const std::vector<std::string>& channels,
                           const std::string& times, std::int64_t time_stride);

}  // namespace trib::io
