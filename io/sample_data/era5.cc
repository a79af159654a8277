#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <mutex>

#include <fmt/format.h>
#include <netcdf.h>

#include "io/hdf5_lock.h"
#include "io/sample_data/atmosphere.h"
#include "io/sample_data/writers.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr int kRows = 37, kColumns = 72;  // 5 degrees, poles included
constexpr int kHoursAPart = 6;            // between times
constexpr int kFirstHour = 1'034'376;     // 2018-01-01T00:00 in hours since 1900
constexpr short kFill = -32767;

/// What an ERA5 file tells of a variable.
struct Variable {
  const char *name, *units, *long_name, *standard_name;
};
constexpr std::array kOnLevels{
    Variable{"z", "m**2 s**-2", "Geopotential", "geopotential"},
    Variable{"t", "K", "Temperature", "air_temperature"},
    Variable{"u", "m s**-1", "U component of wind", "eastward_wind"},
    Variable{"v", "m s**-1", "V component of wind", "northward_wind"},
    Variable{"q", "kg kg**-1", "Specific humidity", "specific_humidity"}};
constexpr std::array kNearGround{Variable{"t2m", "K", "2 metre temperature", nullptr},
                                 Variable{"u10", "m s**-1", "10 metre U wind component", nullptr},
                                 Variable{"v10", "m s**-1", "10 metre V wind component", nullptr}};
constexpr std::array<int, 2> kLevels{500, 850};

/// All values of a file: for each variable [time, level, latitude, longitude] or without level.
struct Values {
  std::array<std::vector<float>, kOnLevels.size()> on_levels;
  std::array<std::vector<float>, kNearGround.size()> near_ground;
};

std::vector<double> latitudes() {
  std::vector<double> values(kRows);
  for (int i = 0; i < kRows; ++i) values[static_cast<std::size_t>(i)] = 90 - 5 * i;
  return values;
}

std::vector<double> longitudes() {
  std::vector<double> values(kColumns);
  for (int i = 0; i < kColumns; ++i) values[static_cast<std::size_t>(i)] = 5 * i;
  return values;
}

Values simulate(const Atmosphere& atmosphere, const RandomStream& noise, int first, int count) {
  Values values;
  const std::vector<double> rows = latitudes(), columns = longitudes();
  std::vector<std::vector<AirColumn>> air(rows.size());
  // What no wave explains: unresolved motion near the ground.
  constexpr std::array<float, kNearGround.size()> kGusts{0.25f, 0.3f, 0.3f};
  for (int step = first; step < first + count; ++step) {
    for (std::size_t row = 0; row < rows.size(); ++row) {
      atmosphere.parallel(rows[row], columns, step * kHoursAPart, air[row]);
    }
    for (const auto level : {&AirColumn::at_500, &AirColumn::at_850}) {
      for (const auto& row : air) {
        for (const AirColumn& column : row) {
          const AirColumn::Level& at = column.*level;
          std::size_t variable = 0;
          for (const double value : {at.z, at.t, at.u, at.v, at.q}) {
            values.on_levels[variable++].push_back(static_cast<float>(value));
          }
        }
      }
    }
    const RandomStream gusts = noise.substream(static_cast<std::uint64_t>(step));
    std::uint64_t draw = 0;
    for (const auto& row : air) {
      for (const AirColumn& column : row) {
        std::size_t variable = 0;
        for (const double value : {column.t2m, column.u10, column.v10}) {
          const float gust = kGusts[variable] * gusts.normal(draw++);
          values.near_ground[variable++].push_back(static_cast<float>(value) + gust);
        }
      }
    }
  }
  return values;
}

/// Values as 16-bit integers: value = scale * packed + offset.
struct Packed {
  std::vector<short> values;
  double scale, offset;
};

Packed pack(const std::vector<float>& values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  Packed packed{{}, (static_cast<double>(*most) - *least) / 65532, (*most + double{*least}) / 2};
  packed.values.reserve(values.size());
  for (const float value : values) {
    packed.values.push_back(
        static_cast<short>(std::lround((value - packed.offset) / packed.scale)));
  }
  return packed;
}

/// A file in the layout of the Climate Data Store before 2024.
class Era5File {
 public:
  explicit Era5File(std::string path) : path_(std::move(path)) {
    check(nc_create(path_.c_str(), NC_CLOBBER | NC_64BIT_OFFSET, &file_));
  }
  ~Era5File() {
    if (file_ >= 0) nc_close(file_);
  }
  Era5File(const Era5File&) = delete;
  Era5File& operator=(const Era5File&) = delete;

  /// Define an axis with its coordinate variable.
  void define_axis(const char* name, nc_type type, std::size_t extent, const char* units,
                   const char* long_name) {
    int dimension = 0, variable = 0;
    check(nc_def_dim(file_, name, extent, &dimension));
    check(nc_def_var(file_, name, type, 1, &dimension, &variable));
    put_text(variable, "units", units);
    put_text(variable, "long_name", long_name);
    dimensions_.insert(dimensions_.begin(), dimension);
  }

  /// Define a packed variable over all axes, the last defined the slowest.
  void define(const Variable& variable, const Packed& packed) {
    int id = 0;
    check(nc_def_var(file_, variable.name, NC_SHORT, static_cast<int>(dimensions_.size()),
                     dimensions_.data(), &id));
    check(nc_put_att_double(file_, id, "scale_factor", NC_DOUBLE, 1, &packed.scale));
    check(nc_put_att_double(file_, id, "add_offset", NC_DOUBLE, 1, &packed.offset));
    check(nc_put_att_short(file_, id, "_FillValue", NC_SHORT, 1, &kFill));
    check(nc_put_att_short(file_, id, "missing_value", NC_SHORT, 1, &kFill));
    put_text(id, "units", variable.units);
    put_text(id, "long_name", variable.long_name);
    if (variable.standard_name != nullptr) put_text(id, "standard_name", variable.standard_name);
  }

  void put_text(const char* variable, const char* attribute, const char* text) {
    put_text(id_of(variable), attribute, text);
  }
  void put_text(int variable, const char* attribute, const char* text) {
    check(nc_put_att_text(file_, variable, attribute, std::char_traits<char>::length(text), text));
  }

  void end_definitions() { check(nc_enddef(file_)); }
  void write(const char* name, const std::vector<double>& values) {
    check(nc_put_var_double(file_, id_of(name), values.data()));
  }
  void write(const char* name, const std::vector<short>& values) {
    check(nc_put_var_short(file_, id_of(name), values.data()));
  }
  void close() {
    const int file = file_;
    file_ = -1;
    check(nc_close(file));
  }

 private:
  int id_of(const char* name) const {
    int id = 0;
    check(nc_inq_varid(file_, name, &id));
    return id;
  }
  void check(int status) const {
    if (status == NC_NOERR) return;
    throw RuntimeError(fmt::format("cannot write {}: {}", path_, nc_strerror(status)));
  }

  std::string path_;
  int file_ = -1;
  std::vector<int> dimensions_;
};

template <std::size_t kCount>
void write_file(const std::string& path, const std::array<Variable, kCount>& variables,
                const std::array<std::vector<float>, kCount>& values, bool has_levels, int first,
                int count) {
  std::array<Packed, kCount> packed;
  std::transform(values.begin(), values.end(), packed.begin(), pack);
  std::vector<double> hours;
  for (int step = first; step < first + count; ++step) {
    hours.push_back(kFirstHour + step * kHoursAPart);
  }

  const std::lock_guard lock(hdf5_family_lock());
  Era5File file(path);
  file.define_axis("longitude", NC_FLOAT, kColumns, "degrees_east", "longitude");
  file.define_axis("latitude", NC_FLOAT, kRows, "degrees_north", "latitude");
  if (has_levels) {
    file.define_axis("level", NC_INT, kLevels.size(), "millibars", "pressure_level");
  }
  file.define_axis("time", NC_INT, hours.size(), "hours since 1900-01-01 00:00:00.0", "time");
  file.put_text("time", "calendar", "gregorian");
  for (std::size_t i = 0; i < kCount; ++i) file.define(variables[i], packed[i]);
  file.put_text(NC_GLOBAL, "Conventions", "CF-1.6");
  file.put_text(NC_GLOBAL, "title", "made-up atmosphere in the layout of ERA5; not a reanalysis");
  file.end_definitions();
  file.write("longitude", longitudes());
  file.write("latitude", latitudes());
  if (has_levels) file.write("level", std::vector<double>(kLevels.begin(), kLevels.end()));
  file.write("time", hours);
  for (std::size_t i = 0; i < kCount; ++i) file.write(variables[i].name, packed[i].values);
  file.close();
}

}  // namespace

std::vector<std::string> write_era5(const std::string& folder, const SampleDataOptions& options) {
  const RandomStream random(options.seed, "sample data: atmosphere");
  const Atmosphere atmosphere(random.substream(0));
  std::vector<std::string> files;
  for (int part = 0; part < 2; ++part) {
    const int count = options.time_steps / 2, first = part * count;
    const Values values = simulate(atmosphere, random.substream(1), first, count);
    files.push_back(fmt::format("{}/pl_{:02}.nc", folder, part + 1));
    write_file(files.back(), kOnLevels, values.on_levels, true, first, count);
    files.push_back(fmt::format("{}/sfc_{:02}.nc", folder, part + 1));
    write_file(files.back(), kNearGround, values.near_ground, false, first, count);
  }
  return files;
}

}  // namespace trib::io
