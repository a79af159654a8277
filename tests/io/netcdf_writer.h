// Writes small NetCDF files for tests.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <netcdf.h>

namespace trib::test {

/// A NetCDF file being written; closed on destruction. Every call must succeed.
class NetcdfWriter {
 public:
  explicit NetcdfWriter(const std::string& path, int mode = NC_NETCDF4) {
    ok(nc_create(path.c_str(), NC_CLOBBER | mode, &file_));
    id_ = file_;
  }
  ~NetcdfWriter() { ok(nc_close(file_)); }
  NetcdfWriter(const NetcdfWriter&) = delete;
  NetcdfWriter& operator=(const NetcdfWriter&) = delete;

  /// What follows is defined and written in a new group of the root.
  void enter_group(const std::string& name) { ok(nc_def_grp(file_, name.c_str(), &id_)); }
  int dimension(const std::string& name, std::size_t length) {
    int d = 0;
    ok(nc_def_dim(id_, name.c_str(), length, &d));
    return d;
  }
  int define(const std::string& name, nc_type type, const std::vector<int>& dimensions) {
    int v = 0;
    ok(nc_def_var(id_, name.c_str(), type, static_cast<int>(dimensions.size()), dimensions.data(),
                  &v));
    return v;
  }
  void attribute(int v, const std::string& name, const std::string& text) {
    ok(nc_put_att_text(id_, v, name.c_str(), text.size(), text.c_str()));
  }
  void attribute(int v, const std::string& name, nc_type type, double value) {
    ok(nc_put_att_double(id_, v, name.c_str(), type, 1, &value));
  }
  void attribute(int v, const std::string& name, nc_type type, const std::vector<double>& values) {
    ok(nc_put_att_double(id_, v, name.c_str(), type, values.size(), values.data()));
  }
  /// Store a variable of a netCDF-4 file in compressed chunks, each with a checksum or without.
  void compress(int v, const std::vector<std::size_t>& chunks, bool checksum) {
    ok(nc_def_var_chunking(id_, v, NC_CHUNKED, chunks.data()));
    ok(nc_def_var_deflate(id_, v, 1, 1, 4));
    if (checksum) ok(nc_def_var_fletcher32(id_, v, NC_FLETCHER32));
  }
  /// Write all values; ends the definition of a classic file.
  void write(int v, const std::vector<double>& values) {
    nc_enddef(id_);
    ok(nc_put_var_double(id_, v, values.data()));
  }

  /// The same for a variable whose first axis is unlimited: `values` tell how many records.
  void write_records(int v, const std::vector<double>& values) {
    nc_enddef(id_);
    int rank = 0, dimensions[NC_MAX_VAR_DIMS];
    ok(nc_inq_varndims(id_, v, &rank));
    ok(nc_inq_vardimid(id_, v, dimensions));
    std::vector<std::size_t> start(static_cast<std::size_t>(rank), 0);
    std::vector<std::size_t> count(static_cast<std::size_t>(rank), 0);
    std::size_t record = 1;
    for (std::size_t axis = 1; axis < count.size(); ++axis) {
      ok(nc_inq_dimlen(id_, dimensions[axis], &count[axis]));
      record *= count[axis];
    }
    count[0] = values.size() / record;
    ok(nc_put_vara_double(id_, v, start.data(), count.data(), values.data()));
  }

 private:
  static void ok(int status) { ASSERT_EQ(status, NC_NOERR) << nc_strerror(status); }
  int file_ = -1, id_ = -1;  // id_: of the group
};

/// Axes and values of a field file for write_grid().
struct GridFixture {
  std::string variable = "t2m";
  std::vector<double> hours{0};  ///< since 2020-01-01
  std::vector<double> latitudes{10, 0, -10};
  std::vector<double> longitudes{0, 90, 180, 270};
  double start = 0;  ///< first value; they count up from there
};

/// Write one surface variable [time, latitude, longitude] of consecutive numbers.
inline void write_grid(const std::string& path, const GridFixture& g) {
  NetcdfWriter file(path);
  const int time = file.dimension("time", g.hours.size());
  const int lat = file.dimension("latitude", g.latitudes.size());
  const int lon = file.dimension("longitude", g.longitudes.size());
  const int time_v = file.define("time", NC_DOUBLE, {time});
  file.attribute(time_v, "units", "hours since 2020-01-01");
  const int lat_v = file.define("latitude", NC_DOUBLE, {lat});
  const int lon_v = file.define("longitude", NC_DOUBLE, {lon});
  const int v = file.define(g.variable, NC_FLOAT, {time, lat, lon});
  file.write(time_v, g.hours);
  file.write(lat_v, g.latitudes);
  file.write(lon_v, g.longitudes);
  std::vector<double> values(g.hours.size() * g.latitudes.size() * g.longitudes.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = g.start + static_cast<double>(i);
  file.write(v, values);
}

}  // namespace trib::test
