// Reader of gridded fields: NetCDF files of ERA5 and its kin, as the Climate Data Store sends them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/grid/calendar.h"
#include "io/grid/longitudes.h"
#include "io/image_source.h"

namespace trib::io {

/// What to do about times that a series lacks.
enum class OnGaps : std::uint8_t { allow, fail };

/// What to do about a time that two files hold.
enum class OnDuplicates : std::uint8_t {
  fail,
  first  ///< take that of the file that is listed first
};

/// What to read of which files.
struct GridOptions {
  /// Files or shell patterns, in the order that matters for duplicates and for the channels, if all
  /// are taken; those of one pattern by name. Files with the same variables are joined along time,
  /// files with other variables at the same times add channels. Fields without any time (a land-sea
  /// mask) are repeated at each time. All must lie on one grid.
  std::vector<std::string> files;

  /// Files of constants, or patterns: their fields are repeated at each time, whatever times they
  /// have themselves. Of several times in such a file the first counts.
  std::vector<std::string> static_files;

  /// Channels in the order wanted: "t2m", "z_500", "z" (all levels of z), "t@500,850", "*_850",
  /// "t_l137" (level 137 of a model); long names ("temperature_850", "2m_temperature") do as well.
  /// Empty: all.
  std::vector<std::string> channels;

  /// Inclusive ranges of dates, "2019-03-01..2019-03-20", "2019..", "2019-03"; a date without hours
  /// is the whole day. They do not overlap. Empty: all times.
  std::vector<std::string> times;

  /// Take every n-th time of each range.
  std::int64_t time_stride = 1;

  /// How longitudes are counted. Files that count otherwise are turned as they are read.
  LongitudeRange longitudes = LongitudeRange::as_is;

  OnGaps gaps = OnGaps::allow;
  OnDuplicates duplicates = OnDuplicates::fail;

  /// Accept fields in which every value is missing. Usually they are a failed download.
  bool allow_empty_fields = false;

  /// Bound on files held open.
  std::size_t max_open_files = 16;

  /// Bound on the decoded chunks kept of all netCDF-4 files together: consecutive times of a chunk
  /// then decompress it once. Variables that only libnetcdf can read are cached apart, 16 MB a
  /// file.
  std::int64_t cache_bytes = std::int64_t{256} << 20;
};

/// Fields on one latitude-longitude grid. Images are [channel, latitude, longitude] with latitudes
/// and longitudes ASCENDING whatever the order in the file; grid() tells them. Windows count rows
/// from the south. There is one image a time and ensemble member: all times of the first member,
/// then of the next.
class GridSource : public ImageSource {
 public:
  /// Time of each image in seconds since 1970-01-01T00:00Z of calendar(), as differences of times
  /// need it; NaN if the files tell none. Provenance has the Gregorian time of the same date.
  virtual const std::vector<double>& times() const = 0;
  virtual Calendar calendar() const = 0;
  /// Which times are missing, in words; empty if none are.
  virtual const std::string& gaps() const = 0;
  /// Whether a channel comes from GridOptions::static_files.
  virtual bool is_static(std::size_t channel) const = 0;
  /// Number of ensemble members; images `size() / num_members()` apart differ in the member alone.
  virtual std::int64_t num_members() const = 0;
};

/// Open files by reading their headers. Packed values are unpacked, missing ones become NaN, and
/// where a file has preliminary and final data side by side ("expver") they are merged. Reading
/// touches the selected variables, levels, times and rows alone.
/// Throws ConfigError for malformed options, DataError for broken files, files that do not fit
/// together, times a channel lacks or has twice, and channels no file holds.
std::unique_ptr<GridSource> open_grid(const GridOptions& options);

}  // namespace trib::io
