// Writing fields on a latitude-longitude grid to NetCDF files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/image.h"

namespace trib::io {

/// How to write.
struct GridWriteOptions {
  int deflate = 1;  ///< level of zlib, 0: none
  bool shuffle = true;
  /// Pack values into 16-bit integers, each variable by its own range: a step is 1 / 65530 of it.
  bool pack = false;
  std::string history = {};  ///< a line for the attribute of that name, may be empty
};

/// When a set of fields is valid.
struct FieldTime {
  double time = kUnknown;       ///< seconds since 1970-01-01T00:00Z
  double reference = kUnknown;  ///< of a forecast: when it began
};

/// A NetCDF-4 file after the CF conventions, 1.8: dimensions time (unlimited), level, lat, lon, a
/// chunk a field. Channels of one variable on several pressure levels ("t_850", "t_500") become one
/// variable with levels, others a variable each. Missing values are NaN, or -32767 if packed.
///
/// Fields may come in any order: they wait in an unnamed file beside the path, uncompressed, until
/// finish() writes them by time. The file appears whole or not at all.
class GridWriter {
 public:
  /// `channels` are those of the fields' first axis. Throws RuntimeError if nothing can be written
  /// there.
  GridWriter(std::string path, LatLonGrid grid, std::vector<Channel> channels,
             GridWriteOptions options);
  ~GridWriter();

  /// Add the fields [channel, latitude, longitude] of a time.
  void add(const FieldTime& time, const float* data_cyx);

  /// Write the file. Without any field there is none. Fields without a time must be alone: they are
  /// written without the dimension. Throws DataError for a time that was added twice, RuntimeError
  /// if the file cannot be written.
  void finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Where the channels of a variable are: `channels[i]` has the level `levels_hpa[i]`.
struct ChannelGroup {
  std::string variable;
  std::vector<std::size_t> channels;
  std::vector<double> levels_hpa;  ///< ascending; empty if the variable has no level axis
};

/// Group channels into the variables they are written as, in the order of their first channels.
std::vector<ChannelGroup> group_channels(const std::vector<Channel>& channels);

}  // namespace trib::io
