// Several grid files as one series of images.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/grid/grid_channels.h"
#include "io/grid/grid_file.h"
#include "io/grid/grid_source.h"

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
  LatLonGrid grid;
  std::vector<std::int64_t>
      column_shifts;  ///< of files: series' column x is theirs (x + shift) % n
  std::vector<Channel> channels;
  std::vector<bool> is_static;                    ///< of channels: from a file of constants
  std::vector<std::vector<ChannelPlace>> places;  ///< [file][channel]
  Calendar calendar = Calendar::gregorian;
  std::vector<double> times;  ///< NaN where unknown
  std::int64_t num_members = 1;
  /// Slots of all times; channels that share their files share a timeline.
  std::vector<std::vector<TimeSlot>> timelines;
  std::vector<std::size_t> timeline_of_channel;
  std::string gaps;  ///< what describe_gaps() says of the times
};

/// Select channels and times and check that the files make one series in which no channel lacks a
/// time that others have. Throws ConfigError or DataError.
GridSeries join_grid_files(std::vector<GridHeader> files, const GridOptions& options);

}  // namespace trib::io
