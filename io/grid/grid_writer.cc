#include "io/grid/grid_writer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <netcdf.h>
#include <unistd.h>

#include "io/cube/hdf5_handles.h"
#include "io/grid/cf_time.h"
#include "io/grid/field_spool.h"
#include "io/grid/standard_names.h"
#include "io/grid/variable_names.h"
#include "io/pending_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr short kPackedMissing = -32767;
constexpr double kPackedLimit = 32765;  // packed values lie within +- this

/// Range of the values that are not missing.
struct ValueRange {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(const float* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      if (!std::isfinite(values[i])) continue;
      low = std::min(low, static_cast<double>(values[i]));
      high = std::max(high, static_cast<double>(values[i]));
    }
  }
  double offset() const { return low <= high ? (low + high) / 2 : 0; }
  double scale() const { return low < high ? (high - low) / (2 * kPackedLimit) : 1; }
};

/// A NetCDF file being written under a temporary name; takes the lock of the HDF5 family for each
/// call. Removed unless it was kept.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path)
      : path_(path), temporary_(fmt::format("{}.{}.part", path, ::getpid())) {
    const Hdf5Session session;
    check(nc_create(temporary_.c_str(), NC_NETCDF4 | NC_CLOBBER, &id_), "cannot be created");
  }
  ~OutputFile() {
    if (id_ >= 0) close_in_session([&] { nc_close(id_); });
    if (!kept_) ::unlink(temporary_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  int dimension(const std::string& name, std::size_t length) {
    const Hdf5Session session;
    int dimension = -1;
    check(nc_def_dim(id_, name.c_str(), length, &dimension), name);
    return dimension;
  }
  int variable(const std::string& name, nc_type type, const std::vector<int>& dimensions) {
    const Hdf5Session session;
    int variable = -1;
    check(nc_def_var(id_, name.c_str(), type, static_cast<int>(dimensions.size()),
                     dimensions.data(), &variable),
          name);
    return variable;
  }
  void text(int variable, const char* name, const std::string& value) {
    if (value.empty()) return;
    const Hdf5Session session;
    check(nc_put_att_text(id_, variable, name, value.size(), value.c_str()), name);
  }
  void number(int variable, const char* name, nc_type type, double value) {
    const Hdf5Session session;
    check(nc_put_att_double(id_, variable, name, type, 1, &value), name);
  }
  void store(int variable, const std::vector<std::size_t>& chunk, const GridWriteOptions& options) {
    const Hdf5Session session;
    check(nc_def_var_chunking(id_, variable, NC_CHUNKED, chunk.data()), "chunks");
    if (options.deflate == 0 && !options.shuffle) return;
    check(nc_def_var_deflate(id_, variable, options.shuffle ? 1 : 0, options.deflate > 0 ? 1 : 0,
                             options.deflate),
          "compression");
  }
  void put(int variable, const std::vector<double>& values) {
    const Hdf5Session session;
    const std::size_t start = 0, count = values.size();
    check(nc_put_vara_double(id_, variable, &start, &count, values.data()), "coordinates");
  }
  template <class T>
  void put(int variable, const std::vector<std::size_t>& start,
           const std::vector<std::size_t>& count, const T* values) {
    const Hdf5Session session;
    check(nc_put_vara(id_, variable, start.data(), count.data(), values), "values");
  }

  /// Close it, flush it to disk and give it its name.
  void keep() {
    {
      const Hdf5Session session;
      check(nc_close(std::exchange(id_, -1)), "cannot be closed");
    }
    const int descriptor = ::open(temporary_.c_str(), O_RDONLY | O_CLOEXEC);
    const bool flushed = descriptor >= 0 && ::fsync(descriptor) == 0;
    const int reason = errno;
    if (descriptor >= 0) ::close(descriptor);
    if (!flushed) fail("cannot be flushed to disk", std::strerror(reason));
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
      fail("cannot be renamed", std::strerror(errno));
    }
    kept_ = true;
    const std::size_t slash = path_.rfind('/');
    sync_folder(slash == std::string::npos ? "." : path_.substr(0, slash + 1));
  }

 private:
  void check(int status, const std::string& what) const {
    if (status != NC_NOERR) fail(what, nc_strerror(status));
  }
  [[noreturn]] void fail(const std::string& what, const std::string& reason) const {
    throw RuntimeError(fmt::format("{}: {}: {}", path_, what, reason));
  }

  std::string path_, temporary_;
  int id_ = -1;
  bool kept_ = false;
};

}  // namespace

class GridWriter::Impl {
 public:
  Impl(std::string path, LatLonGrid grid, std::vector<Channel> channels, GridWriteOptions options)
      : path_(std::move(path)),
        grid_(std::move(grid)),
        channels_(std::move(channels)),
        options_(std::move(options)),
        groups_(group_channels(channels_)),
        ranges_(groups_.size()),
        pixels_(grid_.latitudes.size() * grid_.longitudes.size()),
        spool_(path_, static_cast<std::int64_t>(pixels_ * channels_.size())),
        fields_(pixels_ * channels_.size()) {}

  void add(const FieldTime& time, const float* data_cyx) {
    if (options_.pack) {
      for (std::size_t g = 0; g < groups_.size(); ++g) {
        for (const std::size_t c : groups_[g].channels) {
          ranges_[g].add(data_cyx + c * pixels_, pixels_);
        }
      }
    }
    spool_.add(data_cyx);
    times_.push_back(time);
  }

  void finish() {
    if (times_.empty()) return;
    sort_times();
    OutputFile file(path_);
    define(file);
    for (std::size_t record = 0; record < order_.size(); ++record) {
      spool_.read(static_cast<std::int64_t>(order_[record]), fields_.data());
      for (std::size_t g = 0; g < groups_.size(); ++g) write(file, g, record);
    }
    file.keep();
  }

 private:
  struct Defined {
    int variable = -1;
    bool has_level = false;
  };

  bool has_time() const { return !std::isnan(times_.front().time); }
  bool is_forecast() const {
    return std::any_of(times_.begin(), times_.end(),
                       [](const FieldTime& t) { return !std::isnan(t.reference); });
  }

  void sort_times() {
    order_.resize(times_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    const auto time = [&](std::size_t n) { return times_[n].time; };
    for (const FieldTime& t : times_) {
      if (!std::isnan(t.time) || times_.size() == 1) continue;
      throw DataError(
          fmt::format("{}: {} sets of fields came, some without a time; only one set "
                      "can be written without",
                      path_, times_.size()));
    }
    std::sort(order_.begin(), order_.end(),
              [&](std::size_t a, std::size_t b) { return time(a) < time(b); });
    for (std::size_t i = 1; i < order_.size(); ++i) {
      if (time(order_[i - 1]) < time(order_[i])) continue;
      throw DataError(fmt::format(
          "{}: fields of {} came twice; members of an ensemble, lead times and epochs need files "
          "of their own",
          path_, format_time(time(order_[i]))));
    }
  }

  std::vector<double> in_order(double FieldTime::*member, double unit) const {
    std::vector<double> values;
    for (const std::size_t n : order_) values.push_back(times_[n].*member / unit);
    return values;
  }

  /// Whole hours are written as such, as the Climate Data Store did.
  double time_unit() const {
    const auto is_whole = [](double seconds) {
      return std::isnan(seconds) || std::fmod(seconds, 3600) == 0;
    };
    const bool whole = std::all_of(times_.begin(), times_.end(), [&](const FieldTime& t) {
      return is_whole(t.time) && is_whole(t.reference);
    });
    return whole ? 3600 : 1;
  }

  int coordinate(OutputFile& file, const std::string& name, int dimension, const char* units,
                 const char* standard, const char* axis) {
    const int variable = file.variable(name, NC_DOUBLE, {dimension});
    file.text(variable, "units", units);
    file.text(variable, "standard_name", standard);
    file.text(variable, "long_name", standard);
    file.text(variable, "axis", axis);
    return variable;
  }

  void define(OutputFile& file) {
    std::vector<std::pair<int, std::vector<double>>> coordinates;
    if (has_time()) {
      time_ = file.dimension("time", NC_UNLIMITED);
      const double unit = time_unit();
      const char* const units =
          unit == 3600 ? "hours since 1970-01-01 00:00:00" : "seconds since 1970-01-01 00:00:00";
      const int variable = coordinate(file, "time", time_, units, "time", "T");
      file.text(variable, "calendar", "proleptic_gregorian");
      coordinates.emplace_back(variable, in_order(&FieldTime::time, unit));
      if (is_forecast()) {
        const int began = file.variable("forecast_reference_time", NC_DOUBLE, {time_});
        file.text(began, "units", units);
        file.text(began, "standard_name", "forecast_reference_time");
        file.text(began, "calendar", "proleptic_gregorian");
        coordinates.emplace_back(began, in_order(&FieldTime::reference, unit));
      }
    }
    lat_ = file.dimension("lat", grid_.latitudes.size());
    lon_ = file.dimension("lon", grid_.longitudes.size());
    coordinates.emplace_back(coordinate(file, "lat", lat_, "degrees_north", "latitude", "Y"),
                             grid_.latitudes);
    coordinates.emplace_back(coordinate(file, "lon", lon_, "degrees_east", "longitude", "X"),
                             grid_.longitudes);
    std::vector<std::pair<std::vector<double>, int>> level_dimensions;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const std::vector<double>& levels = groups_[g].levels_hpa;
      int level = -1;
      if (!levels.empty()) {
        const auto known = std::find_if(level_dimensions.begin(), level_dimensions.end(),
                                        [&](const auto& entry) { return entry.first == levels; });
        if (known != level_dimensions.end()) {
          level = known->second;
        } else {
          const std::string name = level_dimensions.empty()
                                       ? "level"
                                       : fmt::format("level{}", level_dimensions.size() + 1);
          level = file.dimension(name, levels.size());
          level_dimensions.emplace_back(levels, level);
          const int variable = coordinate(file, name, level, "hPa", "air_pressure", "Z");
          file.text(variable, "positive", "down");
          coordinates.emplace_back(variable, levels);
        }
      }
      define_variable(file, g, level);
    }
    file.text(NC_GLOBAL, "Conventions", "CF-1.8");
    file.text(NC_GLOBAL, "history", options_.history);
    for (const auto& [variable, values] : coordinates) file.put(variable, values);
  }

  void define_variable(OutputFile& file, std::size_t g, int level) {
    const ChannelGroup& group = groups_[g];
    std::vector<int> dimensions;
    std::vector<std::size_t> chunk;
    const auto axis = [&](int dimension, std::size_t extent) {
      if (dimension < 0) return;
      dimensions.push_back(dimension);
      chunk.push_back(extent);
    };
    axis(time_, 1);
    axis(level, 1);
    axis(lat_, grid_.latitudes.size());
    axis(lon_, grid_.longitudes.size());
    const int variable =
        file.variable(group.variable, options_.pack ? NC_SHORT : NC_FLOAT, dimensions);
    file.store(variable, chunk, options_);
    const std::string short_name = short_variable_name(group.variable);
    std::string long_name = long_variable_name(group.variable);
    std::replace(long_name.begin(), long_name.end(), '_', ' ');
    file.text(variable, "units", channels_[group.channels.front()].units);
    file.text(variable, "standard_name", standard_name(short_name));
    file.text(variable, "long_name", long_name);
    if (options_.pack) {
      file.number(variable, "_FillValue", NC_SHORT, kPackedMissing);
      file.number(variable, "scale_factor", NC_DOUBLE, ranges_[g].scale());
      file.number(variable, "add_offset", NC_DOUBLE, ranges_[g].offset());
    } else {
      file.number(variable, "_FillValue", NC_FLOAT, std::numeric_limits<double>::quiet_NaN());
    }
    defined_.push_back({variable, level >= 0});
  }

  void write(OutputFile& file, std::size_t g, std::size_t record) {
    for (std::size_t i = 0; i < groups_[g].channels.size(); ++i) {
      std::vector<std::size_t> start, count;
      const auto at = [&](std::size_t begin, std::size_t length) {
        start.push_back(begin);
        count.push_back(length);
      };
      if (time_ >= 0) at(record, 1);
      if (defined_[g].has_level) at(i, 1);
      at(0, grid_.latitudes.size());
      at(0, grid_.longitudes.size());
      const float* const values = fields_.data() + groups_[g].channels[i] * pixels_;
      if (options_.pack) {
        pack(values, ranges_[g]);
        file.put(defined_[g].variable, start, count, packed_.data());
      } else {
        file.put(defined_[g].variable, start, count, values);
      }
    }
  }

  void pack(const float* values, const ValueRange& range) {
    const double offset = range.offset(), scale = range.scale();
    packed_.resize(pixels_);
    for (std::size_t i = 0; i < pixels_; ++i) {
      packed_[i] =
          std::isfinite(values[i])
              ? static_cast<short>(std::lround((static_cast<double>(values[i]) - offset) / scale))
              : kPackedMissing;
    }
  }

  std::string path_;
  LatLonGrid grid_;
  std::vector<Channel> channels_;
  GridWriteOptions options_;
  std::vector<ChannelGroup> groups_;
  std::vector<ValueRange> ranges_;  // of each group, to pack it
  std::size_t pixels_;
  FieldSpool spool_;
  std::vector<float> fields_;  // of one time
  std::vector<short> packed_;
  std::vector<FieldTime> times_;    // as they came
  std::vector<std::size_t> order_;  // by time
  std::vector<Defined> defined_;
  int time_ = -1, lat_ = -1, lon_ = -1;  // dimensions
};

GridWriter::GridWriter(std::string path, LatLonGrid grid, std::vector<Channel> channels,
                       GridWriteOptions options)
    : impl_(std::make_unique<Impl>(std::move(path), std::move(grid), std::move(channels),
                                   std::move(options))) {}
GridWriter::~GridWriter() = default;

void GridWriter::add(const FieldTime& time, const float* data_cyx) {
  impl_->add(time, data_cyx);
}

void GridWriter::finish() {
  impl_->finish();
}

}  // namespace trib::io
