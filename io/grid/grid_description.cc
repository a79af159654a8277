#include "io/grid/grid_description.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "io/file_kind.h"
#include "io/grid/netcdf_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr double kBoundTolerance = 1e-4;  // degrees; bounds are often in single precision
constexpr std::int64_t kMostPoints = 1'000'000;

/// Edges of cells from the two bounds of each; the bounds of neighbours must meet.
std::vector<double> edges_of(const std::vector<double>& bounds, const std::string& place) {
  const std::size_t cells = bounds.size() / 2;
  const auto first = [&](std::size_t i) { return bounds[2 * i]; };
  const auto second = [&](std::size_t i) { return bounds[2 * i + 1]; };
  // Some write the bounds of a cell against the direction of the axis.
  const bool against = cells > 1 && std::abs(first(0) - second(1)) < std::abs(second(0) - first(1));
  std::vector<double> edges;
  for (std::size_t i = 0; i < cells; ++i) {
    const double begin = against ? second(i) : first(i), end = against ? first(i) : second(i);
    if (i > 0 && std::abs(std::remainder(begin - edges.back(), 360.0)) > kBoundTolerance) {
      throw DataError(fmt::format("{}: cells {} and {} do not meet, at {} and {}", place, i - 1, i,
                                  edges.back(), begin));
    }
    if (i == 0) edges.push_back(begin);
    edges.push_back(end);
  }
  return edges;
}

/// Coordinates of a NetCDF file.
class NetcdfGrid {
 public:
  explicit NetcdfGrid(const std::string& path) : file_(path) {}

  ops::RegularGrid read() const {
    ops::RegularGrid grid;
    const NetcdfVariable& latitude = coordinate("latitude", "lat", "degrees_north");
    const NetcdfVariable& longitude = coordinate("longitude", "lon", "degrees_east");
    grid.latitudes = file_.values(latitude);
    grid.longitudes = file_.values(longitude);
    grid.latitude_edges = edges(latitude);
    grid.longitude_edges = edges(longitude);
    return grid;
  }

 private:
  bool is_axis(const NetcdfVariable& v) const { return v.dtype && v.dimensions.size() == 1; }

  const NetcdfVariable& coordinate(const char* name, const char* short_name,
                                   const char* units) const {
    const auto fits = [&](const NetcdfVariable& v) {
      return v.name == name || v.name == short_name || file_.text(v, "units") == units ||
             file_.text(v, "standard_name") == name;
    };
    for (const NetcdfVariable& v : file_.variables()) {
      if (is_axis(v) && fits(v)) return v;
    }
    for (const NetcdfVariable& v : file_.variables()) {
      if (v.dtype && v.dimensions.size() > 1 && fits(v)) {
        throw DataError(fmt::format(
            "{}: {} {} has {} axes; only grids whose rows are circles of latitude can be used",
            file_.path(), name, v.name, v.dimensions.size()));
      }
    }
    throw DataError(fmt::format("{}: has no {} coordinate", file_.path(), name));
  }

  std::vector<double> edges(const NetcdfVariable& axis) const {
    const std::string name = file_.text(axis, "bounds");
    if (name.empty()) return {};
    const NetcdfVariable* bounds = file_.find(name);
    const auto length = [&](int d) {
      return file_.dimensions()[static_cast<std::size_t>(d)].length;
    };
    if (bounds == nullptr || !bounds->dtype || bounds->dimensions.size() != 2 ||
        bounds->dimensions[0] != axis.dimensions[0] || length(bounds->dimensions[1]) != 2) {
      throw DataError(fmt::format("{}: {} names the bounds {}, which are not [{}, 2]", file_.path(),
                                  axis.name, name, length(axis.dimensions[0])));
    }
    return edges_of(file_.values(*bounds), file_.path() + ": " + name);
  }

  NetcdfFile file_;
};

/// CDO's description of a grid: lines "key = value ...", which may go on in further lines.
class TextGrid {
 public:
  explicit TextGrid(const std::string& path) : path_(path) {
    std::ifstream file(path);
    std::string line, key;
    while (std::getline(file, line)) {
      line = line.substr(0, line.find('#'));
      const std::size_t equals = line.find('=');
      if (equals != std::string::npos) {
        key = word(line.substr(0, equals));
        if (entries_.contains(key)) {
          throw DataError(fmt::format("{}: has '{}' twice; it must describe one grid", path_, key));
        }
        line = line.substr(equals + 1);
      } else if (word(line).empty()) {
        continue;
      } else if (key.empty()) {
        throw DataError(fmt::format("{}: is neither NetCDF nor a description of a grid", path_));
      }
      entries_[key] += ' ' + line;
    }
  }

  ops::RegularGrid read() const {
    const std::string type = has("gridtype") ? word(entries_.at("gridtype")) : "";
    ops::RegularGrid grid;
    if (type == "gaussian" && !has("yvals")) {
      grid = ops::gaussian_grid(size("ysize"), std::max<std::int64_t>(2, size("xsize")));
    } else if (type == "lonlat" || type == "gaussian") {
      grid.latitudes = axis('y');
    } else {
      throw DataError(
          fmt::format("{}: gridtype is '{}'; expected lonlat or gaussian", path_, type));
    }
    if (type != "gaussian" || has("xvals") || has("xfirst")) grid.longitudes = axis('x');
    if (grid.longitudes.empty()) {  // gaussian with its latitudes listed
      grid.longitudes = ops::global_grid(2, size("xsize"), false).longitudes;
    }
    grid.latitude_edges = edges('y');
    grid.longitude_edges = edges('x');
    return grid;
  }

 private:
  static std::string word(const std::string& text) {
    std::istringstream stream(text);
    std::string first;
    stream >> first;
    return first;
  }

  bool has(const std::string& key) const { return entries_.contains(key); }

  std::vector<double> numbers(const std::string& key) const {
    const auto found = entries_.find(key);
    if (found == entries_.end()) throw DataError(fmt::format("{}: lacks '{}'", path_, key));
    std::istringstream stream(found->second);
    std::vector<double> values;
    for (std::string text; stream >> text;) {
      double value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
        throw DataError(fmt::format("{}: {}: '{}' is not a number", path_, key, text));
      }
      values.push_back(value);
    }
    return values;
  }

  double number(const std::string& key) const {
    const std::vector<double> values = numbers(key);
    if (values.size() != 1) {
      throw DataError(
          fmt::format("{}: {}: expected one number, found {}", path_, key, values.size()));
    }
    return values[0];
  }

  std::int64_t size(const std::string& key) const {
    const double value = number(key);
    if (value != std::floor(value) || value < 1 || value > kMostPoints) {
      throw DataError(
          fmt::format("{}: {}: expected a number of points, found {}", path_, key, value));
    }
    return static_cast<std::int64_t>(value);
  }

  std::vector<double> axis(char name) const {
    const std::string prefix(1, name);
    const std::int64_t count = size(prefix + "size");
    if (has(prefix + "vals")) {
      std::vector<double> values = numbers(prefix + "vals");
      if (std::ssize(values) != count) {
        throw DataError(fmt::format("{}: {}vals has {} values and {}size is {}", path_, name,
                                    values.size(), name, count));
      }
      return values;
    }
    const double first = number(prefix + "first");
    const double step = count > 1 ? number(prefix + "inc") : 0;
    std::vector<double> values;
    for (std::int64_t i = 0; i < count; ++i)
      values.push_back(first + step * static_cast<double>(i));
    return values;
  }

  std::vector<double> edges(char name) const {
    const std::string key = std::string(1, name) + "bounds";
    if (!has(key)) return {};
    const std::vector<double> bounds = numbers(key);
    const std::int64_t cells = size(std::string(1, name) + "size");
    if (std::ssize(bounds) != 2 * cells) {
      throw DataError(fmt::format("{}: {} has {} values; expected two for each of {} cells", path_,
                                  key, bounds.size(), cells));
    }
    return edges_of(bounds, path_ + ": " + key);
  }

  std::string path_;
  std::map<std::string, std::string> entries_;
};

}  // namespace

ops::RegularGrid read_grid_description(const std::string& path) {
  const FileKind kind = file_kind(path);
  try {
    if (kind == FileKind::netcdf_classic || kind == FileKind::hdf5) {
      return ops::ascending_grid(NetcdfGrid(path).read());
    }
    if (kind != FileKind::other) {
      throw DataError(fmt::format("{}: is {}; expected NetCDF or a description of a grid", path,
                                  describe(kind)));
    }
    return ops::ascending_grid(TextGrid(path).read());
  } catch (const ConfigError& error) {
    throw DataError(fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace trib::io
