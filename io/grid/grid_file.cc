#include "io/grid/grid_file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "io/grid/cf_time.h"
#include "io/grid/variable_names.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

template <std::size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::ranges::find(names, name) != names.end();
}

constexpr std::array<std::string_view, 2> kLatitudeNames{"latitude", "lat"};
constexpr std::array<std::string_view, 2> kLongitudeNames{"longitude", "lon"};
constexpr std::array<std::string_view, 3> kTimeNames{"time", "valid_time", "date"};
constexpr std::array<std::string_view, 4> kClimatologyNames{"month", "dayofyear", "season", "hour"};
constexpr std::array<std::string_view, 4> kMemberNames{"number", "member", "ensemble",
                                                       "realization"};
constexpr std::array<std::string_view, 6> kLevelNames{
    "level", "pressure_level", "isobaricInhPa", "plev", "lev", "pressure"};

constexpr double kDefaultFill = 9.969209968386869e36;  // NC_FILL_FLOAT and NC_FILL_DOUBLE

// Factor from a level's units to hPa; levels without units are taken as hPa.
double level_factor(std::string_view units) {
  return units == "Pa" || units == "pascal" ? 0.01 : 1.0;
}

// Reads a header step by step.
class HeaderBuilder {
 public:
  explicit HeaderBuilder(const NetcdfFile& file) : file_(file) { header_.path = file.path(); }

  GridHeader build() {
    find_roles();
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

  // Variable that gives the coordinates of a dimension, null if it has none.
  const NetcdfVariable* coordinate(int d) const {
    const NetcdfVariable* v = file_.find(dimension(d).name);
    const bool fits = v != nullptr && v->dtype && v->dimensions == std::vector<int>{d};
    return fits ? v : nullptr;
  }

  void find_roles() {
    for (int d = 0; d < static_cast<int>(file_.dimensions().size()); ++d) {
      const std::string& name = dimension(d).name;
      const NetcdfVariable* v = coordinate(d);
      const std::string units = v != nullptr ? file_.text(*v, "units") : "";
      const std::string standard = v != nullptr ? file_.text(*v, "standard_name") : "";
      if (is_one_of(name, kLatitudeNames) || units == "degrees_north" || standard == "latitude") {
        roles_[d] = AxisRole::latitude;
      } else if (is_one_of(name, kLongitudeNames) || units == "degrees_east" ||
                 standard == "longitude") {
        roles_[d] = AxisRole::longitude;
      } else if (is_one_of(name, kTimeNames) || standard == "time") {
        set_time(d, TimeKind::calendar);
      } else if (is_one_of(name, kClimatologyNames)) {
        set_time(d, TimeKind::climatology);
      } else if (is_one_of(name, kMemberNames)) {
        roles_[d] = AxisRole::member;
        header_.num_members = std::max(header_.num_members, dimension(d).length);
      } else if (name == "expver") {
        roles_[d] = AxisRole::version;
        header_.num_versions = std::max(header_.num_versions, dimension(d).length);
      } else if (v != nullptr && (is_one_of(name, kLevelNames) || standard == "air_pressure")) {
        roles_[d] = AxisRole::level;
      }
    }
  }

  // The first time axis is the one; a calendar goes before a climatology.
  void set_time(int d, TimeKind kind) {
    if (time_dimension_ >= 0) {
      if (kind == TimeKind::climatology || header_.time_kind == TimeKind::calendar) return;
      roles_.erase(time_dimension_);
    }
    roles_[d] = AxisRole::time;
    time_dimension_ = d;
    header_.time_kind = kind;
  }

  std::vector<double> read_axis(AxisRole role, const char* what) {
    for (const auto& [d, r] : roles_) {
      if (r != role) continue;
      const NetcdfVariable* v = coordinate(d);
      if (v == nullptr) {
        throw DataError(fmt::format("{}: dimension {} has no coordinate variable", header_.path,
                                    dimension(d).name));
      }
      return file_.values(*v);
    }
    throw DataError(
        fmt::format("{}: has no {} axis; only regular latitude-longitude grids can be "
                    "read",
                    header_.path, what));
  }

  // Turn an axis so that it ascends; whether it had to be turned.
  bool ascend(std::vector<double>& values, const char* what) const {
    const bool reversed = values.size() > 1 && values.front() > values.back();
    if (reversed) std::ranges::reverse(values);
    for (std::size_t i = 1; i < values.size(); ++i) {
      if (values[i - 1] < values[i]) continue;
      throw DataError(fmt::format("{}: {} neither ascends nor descends: {} after {}", header_.path,
                                  what, values[i], values[i - 1]));
    }
    return reversed;
  }

  void read_grid() {
    LatLonGrid& grid = header_.grid;
    grid.latitudes = read_axis(AxisRole::latitude, "latitude");
    header_.reversed_latitude = ascend(grid.latitudes, "latitude");
    grid.longitudes = read_axis(AxisRole::longitude, "longitude");
    // 0 .. 179, -180 .. -1 goes around the globe once: go on counting after the date line.
    for (std::size_t i = 1; i < grid.longitudes.size(); ++i) {
      if (grid.longitudes[i - 1] - grid.longitudes[i] > 180) grid.longitudes[i] += 360;
    }
    header_.reversed_longitude = ascend(grid.longitudes, "longitude");
  }

  void read_times() {
    if (header_.time_kind == TimeKind::climatology) {
      header_.times.assign(static_cast<std::size_t>(dimension(time_dimension_).length), kUnknown);
      return;
    }
    const NetcdfVariable* v = nullptr;
    if (time_dimension_ >= 0) {
      v = coordinate(time_dimension_);
      if (v == nullptr) {
        throw DataError(fmt::format("{}: dimension {} has no coordinate variable", header_.path,
                                    dimension(time_dimension_).name));
      }
    } else {
      for (const std::string_view name : kTimeNames) {
        const NetcdfVariable* scalar = file_.find(std::string(name));
        if (scalar != nullptr && scalar->dtype && scalar->dimensions.empty()) v = scalar;
      }
      if (v == nullptr) return;
      header_.time_kind = TimeKind::calendar;
    }
    header_.times = decode_times(file_.values(*v), file_.text(*v, "units"),
                                 file_.text(*v, "calendar"), header_.path + ": " + v->name);
    for (const double time : header_.times) {
      if (std::isfinite(time)) continue;
      throw DataError(fmt::format("{}: {} has missing values", header_.path, v->name));
    }
  }

  void add(const NetcdfVariable& v) {
    GridVariable out;
    out.variable = v;
    std::string unfit;
    for (const int d : v.dimensions) {
      const auto role = roles_.find(d);
      if (role != roles_.end()) {
        if (out.has(role->second)) unfit = fmt::format("two axes like {}", dimension(d).name);
        out.roles.push_back(role->second);
        if (role->second == AxisRole::level) out.levels_hpa = levels_of(*coordinate(d));
      } else {
        if (dimension(d).length != 1) unfit = fmt::format("unknown axis {}", dimension(d).name);
        out.roles.push_back(AxisRole::single);
      }
    }
    // Coordinates, bounds and text are not fields.
    if (!v.dtype || !out.has(AxisRole::latitude) || !out.has(AxisRole::longitude)) return;
    if (!unfit.empty()) {
      header_.left_out.push_back(fmt::format("{}: {}", v.name, unfit));
      return;
    }
    if (out.levels_hpa.empty()) out.levels_hpa = scalar_level(v);
    out.name = short_variable_name(v.name);
    out.units = file_.text(v, "units");
    out.packing = packing_of(v);
    header_.variables.push_back(std::move(out));
  }

  std::vector<double> levels_of(const NetcdfVariable& coordinate) const {
    const double factor = level_factor(file_.text(coordinate, "units"));
    std::vector<double> levels = file_.values(coordinate);
    for (double& level : levels) level *= factor;
    return levels;
  }

  // Level of a variable cut out of a file with levels: a scalar coordinate it names.
  std::vector<double> scalar_level(const NetcdfVariable& v) const {
    const std::string coordinates = " " + file_.text(v, "coordinates") + " ";
    for (const std::string_view name : kLevelNames) {
      if (coordinates.find(fmt::format(" {} ", name)) == std::string::npos) continue;
      const NetcdfVariable* level = file_.find(std::string(name));
      if (level != nullptr && level->dtype && level->dimensions.empty()) return levels_of(*level);
    }
    return {};
  }

  Packing packing_of(const NetcdfVariable& v) const {
    Packing packing;
    const auto scale = file_.numbers(v, "scale_factor");
    const auto offset = file_.numbers(v, "add_offset");
    if (!scale.empty()) packing.scale = scale[0];
    if (!offset.empty()) packing.offset = offset[0];
    packing.missing = file_.numbers(v, "_FillValue");
    const auto more = file_.numbers(v, "missing_value");
    packing.missing.insert(packing.missing.end(), more.begin(), more.end());
    // What libnetcdf fills unwritten elements with unless told otherwise.
    if (packing.missing.empty() && (v.dtype == DType::f32 || v.dtype == DType::f64)) {
      packing.missing.push_back(kDefaultFill);
    }
    return packing;
  }

  const NetcdfFile& file_;
  GridHeader header_;
  std::map<int, AxisRole> roles_;  // of dimensions
  int time_dimension_ = -1;
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

GridSlab::GridSlab(const NetcdfFile& file, const GridHeader& header, const GridVariable& variable,
                   const SlabRequest& request)
    : variable_(variable), height_(request.window.height), width_(request.window.width) {
  const Window& w = request.window;
  const auto num_rows = static_cast<std::int64_t>(header.grid.latitudes.size());
  const auto num_columns = static_cast<std::int64_t>(header.grid.longitudes.size());
  const std::int64_t y = header.reversed_latitude ? num_rows - w.y - w.height : w.y;
  const std::int64_t x = header.reversed_longitude ? num_columns - w.x - w.width : w.x;

  const std::size_t rank = variable.roles.size();
  std::vector<std::size_t> start(rank, 0), count(rank, 1);
  const auto select = [&](std::size_t axis, std::int64_t begin, std::int64_t length) {
    start[axis] = static_cast<std::size_t>(begin);
    count[axis] = static_cast<std::size_t>(length);
  };
  std::int64_t elements = 1;
  for (std::size_t axis = rank; axis-- > 0;) {
    switch (variable.roles[axis]) {
      case AxisRole::time:
        select(axis, request.time, 1);
        break;
      case AxisRole::member:
        select(axis, request.member, 1);
        break;
      case AxisRole::version:
        num_versions_ = header.num_versions;
        stride_version_ = elements;
        select(axis, 0, num_versions_);
        break;
      case AxisRole::level:
        stride_level_ = elements;
        select(axis, request.first_level, request.num_levels);
        break;
      case AxisRole::latitude:
        stride_y_ = elements;
        select(axis, y, w.height);
        break;
      case AxisRole::longitude:
        stride_x_ = elements;
        select(axis, x, w.width);
        break;
      case AxisRole::single:
        break;
    }
    elements *= static_cast<std::int64_t>(count[axis]);
  }
  if (header.reversed_latitude) {
    first_ += (w.height - 1) * stride_y_;
    stride_y_ = -stride_y_;
  }
  if (header.reversed_longitude) {
    first_ += (w.width - 1) * stride_x_;
    stride_x_ = -stride_x_;
  }
  raw_ = std::make_unique<Buffer>(
      static_cast<std::size_t>(elements) * size_of(*variable.variable.dtype), MemoryKind::ingest);
  file.read(variable.variable, start, count, raw_->data());
}

void GridSlab::unpack_level(std::int64_t n, const Affine& affine, float* out_yx) const {
  const Packing packing = variable_.packing.then(affine);
  const DType dtype = *variable_.variable.dtype;
  const auto block = [&](std::int64_t version) {
    const std::int64_t element = first_ + n * stride_level_ + version * stride_version_;
    return RawBlock{raw_->data() + element * static_cast<std::int64_t>(size_of(dtype)),
                    dtype,
                    {1, height_, width_},
                    {0, stride_y_, stride_x_}};
  };
  unpack(block(0), packing, out_yx);
  std::vector<float> other;
  for (std::int64_t version = 1; version < num_versions_; ++version) {
    other.resize(static_cast<std::size_t>(height_ * width_));
    unpack(block(version), packing, other.data());
    for (std::size_t i = 0; i < other.size(); ++i) {
      if (std::isnan(out_yx[i])) out_yx[i] = other[i];
    }
  }
}

}  // namespace trib::io
