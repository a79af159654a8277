// Statistics of channels as a JSON file beside the data:
//
//   {"format": "tributary statistics", "version": 1,
//    "channels": {"t_850": {"units": "K", "count": 4096, "total": 4096, "mean": 281.3, "std": 15.6,
//                           "min": 223.1, "max": 314.9}, ...},
//    "grid": {"latitudes": 32, "longitudes": 64, "first": [..], "last": [..], "hash": ".."},
//    "made_from": {"graph": "..", "node": "..", "samples": 480, ...}}
//
// Files that say no more than mean and std of each channel are read too.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ops/kernels/moments.h"
#include "pipeline/stage/stream_info.h"

namespace trib::pipeline {

/// Of one channel or target.
struct ChannelSummary {
  std::string name;
  std::string units;  ///< empty if unknown
  double count = 0;   ///< finite values, 0 if unknown
  double total = 0;   ///< all values, 0 if unknown
  double mean = 0;
  double std = 0;                                         ///< divisor count
  double min = std::numeric_limits<double>::quiet_NaN();  ///< NaN if unknown
  double max = std::numeric_limits<double>::quiet_NaN();

  static ChannelSummary of(const io::Channel& channel, const Moments& moments);
};

/// A latitude-longitude grid as far as a file must know it again.
struct GridMark {
  std::int64_t latitudes = 0, longitudes = 0;
  std::pair<double, double> first, last;  ///< latitude and longitude of two corners
  std::string hash;                       ///< of all coordinates to 1e-6 degrees; empty: no grid

  static GridMark of(const std::shared_ptr<const io::LatLonGrid>& grid);
  /// "32 x 64 cells from (-87.1875, 0) to (87.1875, 354.375)", "no latitude-longitude grid".
  std::string text() const;
};

/// What statistics were measured on.
struct StatisticsOrigin {
  std::string graph, node;  ///< node: whose input was measured
  std::string split = "train";
  std::int64_t samples = 0;
  std::int64_t skipped = 0;  ///< left out by on_error: skip
  std::int64_t num_files = 0;
  std::vector<std::string> files;  ///< the first of them, sorted
  double first_time = io::kUnknown, last_time = io::kUnknown;
};

struct StatisticsFile {
  std::vector<ChannelSummary> channels;
  bool knows_grid = false;  ///< whether the file says anything of a grid
  GridMark grid;
  StatisticsOrigin origin;
};

/// Channels of a stream whose statistics are kept: all, and those targets that are no channels. A
/// target of the same name is the same field.
std::vector<io::Channel> measured_channels(const StreamInfo& info);

/// Files that a statistics file names; of more it gives the number.
inline constexpr std::size_t kFilesNamed = 64;

/// Write statistics; throws RuntimeError if the file cannot be written.
void write_statistics(const std::string& path, const StatisticsFile& statistics);

/// Read a file; throws DataError if it cannot be read or is damaged.
StatisticsFile read_statistics_file(const std::string& path);

/// The statistics of `channels`, in that order, for data on `grid` (null if on none). Throws
/// ConfigError, saying what was found and expected, if the file lacks a channel, has it in other
/// units, or was measured on another grid. What the file or the data do not say is not compared.
ChannelStatistics matching_statistics(const StatisticsFile& file, const std::string& path,
                                      const std::vector<io::Channel>& channels,
                                      const std::shared_ptr<const io::LatLonGrid>& grid);

}  // namespace trib::pipeline
