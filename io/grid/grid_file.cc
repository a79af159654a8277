#include "io/grid/grid_file.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "io/grid/cf_packing.h"
#include "io/grid/cf_time.h"
#include "io/grid/variable_names.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// Reads a header step by step.
class HeaderBuilder {
 public:
  explicit HeaderBuilder(const NetcdfFile& file) : file_(file), axes_(find_axes(file)) {
    header_.path = file.path();
    header_.time_kind = axes_.time_kind;
  }

  GridHeader build() {
    choose_grid();
    read_grid();
    read_times();
    for (const NetcdfVariable& v : file_.variables()) add(v);
    if (header_.variables.empty()) {
      throw DataError(fmt::format(
          "{}: holds no variable on its latitude-longitude grid{}{}", header_.path,
          header_.left_out.empty() ? "" : "; left out: ", fmt::join(header_.left_out, "; ")));
    }
    return std::move(header_);
  }

 private:
  const NetcdfDimension& dimension(int d) const {
    return file_.dimensions()[static_cast<std::size_t>(d)];
  }
  const GridAxis* axis(int d) const {
    const auto found = axes_.roles.find(d);
    return found == axes_.roles.end() ? nullptr : &found->second;
  }
  // Dimension of a role along which a variable lies, -1 if none.
  int dimension_of(const NetcdfVariable& v, AxisRole role) const {
    for (const int d : v.dimensions) {
      if (axis(d) != nullptr && axis(d)->role == role) return d;
    }
    return -1;
  }
  static bool is_field(int latitude, int longitude) { return latitude >= 0 && longitude >= 0; }

  void choose_grid() {
    for (const NetcdfVariable& v : file_.variables()) {
      latitude_ = dimension_of(v, AxisRole::latitude);
      longitude_ = dimension_of(v, AxisRole::longitude);
      if (v.dtype && is_field(latitude_, longitude_)) return;
    }
    throw DataError(
        fmt::format("{}: holds no variable on its latitude-longitude grid", header_.path));
  }

  std::vector<double> read_axis(int d) const {
    const NetcdfVariable* v = axis(d)->coordinate;
    if (v == nullptr) {
      throw DataError(fmt::format("{}: dimension {} has no coordinate variable", header_.path,
                                  dimension(d).name));
    }
    std::vector<double> values = file_.values(*v);
    if (values.empty()) {
      throw DataError(fmt::format("{}: axis {} is empty", header_.path, dimension(d).name));
    }
    const auto packing = cf_packing(file_, *v);
    for (double& value : values) value = value * packing.scale + packing.offset;
    return values;
  }

  // Turn an axis so that it ascends; whether it had to be turned.
  bool ascend(std::vector<double>& values, const char* what) const {
    const bool reversed = values.size() > 1 && values.front() > values.back();
    if (reversed) std::ranges::reverse(values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(values[i]) && (i == 0 || values[i - 1] < values[i])) continue;
      throw DataError(fmt::format("{}: {} neither ascends nor descends: {} after {}", header_.path,
                                  what, values[i], i == 0 ? kUnknown : values[i - 1]));
    }
    return reversed;
  }

  void read_grid() {
    constexpr double kRounding = 1e-3;
    LatLonGrid& grid = header_.grid;
    grid.latitudes = read_axis(latitude_);
    header_.reversed_latitude = ascend(grid.latitudes, "latitude");
    for (const double latitude : {grid.latitudes.front(), grid.latitudes.back()}) {
      if (std::abs(latitude) <= 90 + kRounding) continue;
      throw DataError(fmt::format("{}: latitude {} lies beyond the poles", header_.path, latitude));
    }
    grid.longitudes = read_axis(longitude_);
    // 0 .. 179, -180 .. -1 goes around the globe once: go on counting after the date line.
    for (std::size_t i = 1; i < grid.longitudes.size(); ++i) {
      if (grid.longitudes[i - 1] - grid.longitudes[i] > 180) grid.longitudes[i] += 360;
    }
    header_.reversed_longitude = ascend(grid.longitudes, "longitude");
    const double around = grid.longitudes.back() - grid.longitudes.front();
    if (around > 360 + kRounding || std::abs(grid.longitudes.front()) > 720) {
      throw DataError(fmt::format("{}: longitudes from {} to {} go around the globe more than once",
                                  header_.path, grid.longitudes.front(), grid.longitudes.back()));
    }
  }

  void read_times() {
    if (header_.time_kind == TimeKind::climatology) {
      header_.times.assign(static_cast<std::size_t>(dimension(axes_.time_dimension).length),
                           kUnknown);
      return;
    }
    const NetcdfVariable* v = axes_.time;
    if (v == nullptr) {
      if (axes_.time_dimension < 0) return;
      throw DataError(fmt::format("{}: dimension {} has no coordinate variable", header_.path,
                                  dimension(axes_.time_dimension).name));
    }
    std::vector<double> values = file_.values(*v);
    const auto missing = file_.numbers(*v, "_FillValue");
    for (double& value : values) {
      if (std::ranges::find(missing, value) != missing.end()) value = kUnknown;
    }
    DecodedTimes decoded = decode_times(values, file_.text(*v, "units"), file_.text(*v, "calendar"),
                                        header_.path + ": " + v->name);
    header_.times = std::move(decoded.times);
    header_.calendar = decoded.calendar;
    for (const double time : header_.times) {
      if (std::isfinite(time)) continue;
      throw DataError(fmt::format("{}: {} has missing values", header_.path, v->name));
    }
  }

  void add(const NetcdfVariable& v) {
    const int latitude = dimension_of(v, AxisRole::latitude);
    const int longitude = dimension_of(v, AxisRole::longitude);
    // Coordinates, bounds and text are not fields.
    if (!v.dtype || !is_field(latitude, longitude)) return;
    GridVariable out;
    out.variable = v;
    std::string unfit;
    if (latitude != latitude_ || longitude != longitude_) {
      unfit = fmt::format("lies on another grid of the file, along {} and {}",
                          dimension(latitude).name, dimension(longitude).name);
    }
    for (const int d : v.dimensions) {
      const GridAxis* const role = axis(d);
      if (role == nullptr) {
        if (dimension(d).length != 1) unfit = why_unusable(d);
        out.roles.push_back(AxisRole::single);
        continue;
      }
      if (out.has(role->role)) unfit = fmt::format("two axes like {}", dimension(d).name);
      out.roles.push_back(role->role);
      switch (role->role) {
        case AxisRole::level:
          out.levels = levels_of(file_, dimension(d), role->coordinate);
          break;
        case AxisRole::member:
          header_.num_members = std::max(header_.num_members, dimension(d).length);
          break;
        case AxisRole::version:
          header_.num_versions = std::max(header_.num_versions, dimension(d).length);
          break;
        default:
          break;
      }
    }
    if (!unfit.empty()) {
      header_.left_out.push_back(fmt::format("{}: {}", v.name, unfit));
      return;
    }
    if (out.levels.empty()) out.levels = scalar_level(file_, v);
    out.name = short_variable_name(has_namesake(v) ? v.name : v.local_name());
    out.units = file_.text(v, "units");
    out.variable.dtype = cf_dtype(file_, v);
    out.packing = cf_packing(file_, v);
    header_.variables.push_back(std::move(out));
  }

  std::string why_unusable(int d) const {
    const auto found = axes_.unusable.find(d);
    return found == axes_.unusable.end() ? fmt::format("unknown axis {}", dimension(d).name)
                                         : found->second;
  }

  // Whether variables of other groups go by the same name.
  bool has_namesake(const NetcdfVariable& v) const {
    return std::ranges::count(file_.variables(), v.local_name(), &NetcdfVariable::local_name) > 1;
  }

  const NetcdfFile& file_;
  GridAxes axes_;
  GridHeader header_;
  int latitude_ = -1, longitude_ = -1;  // dimensions of the grid
};

}  // namespace

bool GridVariable::has(AxisRole role) const {
  return std::ranges::find(roles, role) != roles.end();
}

GridHeader read_grid_header(const NetcdfFile& file) {
  GridHeader header = HeaderBuilder(file).build();
  for (GridVariable& variable : header.variables) {
    variable.chunk_bytes = image_bytes(file, variable).in_chunks;
  }
  return header;
}

ImageBytes image_bytes(const NetcdfFile& file, const GridVariable& variable) {
  const auto chunks = file.chunks(variable.variable);
  ImageBytes bytes;
  bytes.of_values = bytes.in_chunks = static_cast<std::int64_t>(size_of(*variable.variable.dtype));
  for (std::size_t axis = 0; axis < variable.roles.size(); ++axis) {
    const AxisRole role = variable.roles[axis];
    const auto d = static_cast<std::size_t>(variable.variable.dimensions[axis]);
    const bool one_index = role == AxisRole::time || role == AxisRole::member;
    const std::int64_t extent = one_index ? 1 : file.dimensions()[d].length;
    bytes.of_values *= extent;
    if (!chunks.empty()) {
      bytes.in_chunks *= (extent + chunks[axis] - 1) / chunks[axis] * chunks[axis];
    }
  }
  if (chunks.empty()) bytes.in_chunks = 0;
  return bytes;
}

}  // namespace trib::io
