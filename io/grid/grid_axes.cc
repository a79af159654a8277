#include "io/grid/grid_axes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "io/grid/grid_levels.h"
#include "io/text.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::array<std::string_view, 2> kLatitudeNames{"latitude", "lat"};
constexpr std::array<std::string_view, 2> kLongitudeNames{"longitude", "lon"};
// The spellings CF allows, in lower case.
constexpr std::array<std::string_view, 6> kDegreesNorth{
    "degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"};
constexpr std::array<std::string_view, 6> kDegreesEast{"degrees_east", "degree_east", "degree_e",
                                                       "degrees_e",    "degreee",     "degreese"};
// In the order in which they are believed.
constexpr std::array<std::string_view, 4> kTimeNames{"valid_time", "time", "date", "datetime"};
constexpr std::array<std::string_view, 4> kClimatologyNames{"month", "dayofyear", "season", "hour"};
constexpr std::array<std::string_view, 6> kMemberNames{"number",      "member", "ensemble",
                                                       "realization", "ens",    "ensemble_member"};

class AxisFinder {
 public:
  explicit AxisFinder(const NetcdfFile& file) : file_(file) {}

  GridAxes find() {
    for (int d = 0; d < num_dimensions(); ++d) assign(d);
    let_steps_be_times();
    require(AxisRole::latitude, "latitude");
    require(AxisRole::longitude, "longitude");
    find_time();
    return std::move(axes_);
  }

 private:
  int num_dimensions() const { return static_cast<int>(file_.dimensions().size()); }
  const NetcdfDimension& dimension(int d) const {
    return file_.dimensions()[static_cast<std::size_t>(d)];
  }
  std::string text(const NetcdfVariable& v, const char* attribute) const {
    return lower(file_.text(v, attribute));
  }

  // Whether a variable counts along one dimension; others of length one do not matter.
  bool is_along(const NetcdfVariable& v, int d) const {
    bool along = false;
    for (const int other : v.dimensions) {
      if (other == d) {
        along = true;
      } else if (dimension(other).length != 1) {
        return false;
      }
    }
    return v.dtype && along;
  }

  // Numeric variables that give coordinates of a dimension, that of its name first.
  std::vector<const NetcdfVariable*> candidates(int d) const {
    std::vector<const NetcdfVariable*> found;
    for (const NetcdfVariable& v : file_.variables()) {
      if (v.dtype && v.dimensions == std::vector<int>{d}) found.push_back(&v);
    }
    std::ranges::stable_partition(
        found, [&](const NetcdfVariable* v) { return v->local_name() == dimension(d).name; });
    return found;
  }
  const NetcdfVariable* own_coordinate(int d) const {
    const auto found = candidates(d);
    const bool has = !found.empty() && found[0]->local_name() == dimension(d).name;
    return has ? found[0] : nullptr;
  }

  bool is_latitude(const NetcdfVariable& v) const {
    const std::string units = text(v, "units"), standard = text(v, "standard_name");
    if (!standard.empty()) return standard == "latitude";
    return is_one_of(units, kDegreesNorth) || is_one_of(lower(v.local_name()), kLatitudeNames) ||
           (text(v, "axis") == "y" && units.starts_with("degree"));
  }
  bool is_longitude(const NetcdfVariable& v) const {
    const std::string units = text(v, "units"), standard = text(v, "standard_name");
    if (!standard.empty()) return standard == "longitude";
    return is_one_of(units, kDegreesEast) || is_one_of(lower(v.local_name()), kLongitudeNames) ||
           (text(v, "axis") == "x" && units.starts_with("degree"));
  }
  bool is_calendar(const NetcdfVariable& v) const {
    const std::string standard = text(v, "standard_name"), units = text(v, "units");
    if (standard == "forecast_reference_time" || standard == "forecast_period") return false;
    const bool dated = units.find(" since ") != std::string::npos || units.starts_with("day as ");
    return standard == "time" || (dated && (is_one_of(lower(v.local_name()), kTimeNames) ||
                                            text(v, "axis") == "t" || !v.dimensions.empty()));
  }

  void assign(int d) {
    const std::string name = lower(dimension(d).name);
    const NetcdfVariable* own = own_coordinate(d);
    const NetcdfVariable *latitude = nullptr, *longitude = nullptr;
    for (const NetcdfVariable* v : candidates(d)) {
      if (latitude == nullptr && is_latitude(*v)) latitude = v;
      if (longitude == nullptr && is_longitude(*v)) longitude = v;
    }
    if (latitude != nullptr && longitude != nullptr) {
      if (dimension(d).length != 1) unstructured_ = dimension(d).name;
      return;
    }
    const std::string standard = own != nullptr ? text(*own, "standard_name") : "";
    if (latitude != nullptr || (own == nullptr && is_one_of(name, kLatitudeNames))) {
      set(d, AxisRole::latitude, latitude);
    } else if (longitude != nullptr || (own == nullptr && is_one_of(name, kLongitudeNames))) {
      set(d, AxisRole::longitude, longitude);
    } else if (is_one_of(name, kTimeNames) || standard == "forecast_reference_time" ||
               (own != nullptr && is_calendar(*own))) {
      set_time(d, TimeKind::calendar);
    } else if (is_one_of(name, kClimatologyNames)) {
      set_time(d, TimeKind::climatology);
    } else if (is_one_of(name, kMemberNames) || standard == "realization") {
      set(d, AxisRole::member, own);
    } else if (name == "expver") {
      set(d, AxisRole::version, own);
    } else {
      assign_level(d, name, own);
    }
  }

  // Any other axis with numbers along it makes channels of its own, but for steps of a forecast.
  void assign_level(int d, const std::string& name, const NetcdfVariable* own) {
    if (own == nullptr) {
      const bool vertical = is_level_name(name);
      if (vertical && dimension(d).length > 1) set(d, AxisRole::level, nullptr);
      return;
    }
    const std::string standard = text(*own, "standard_name");
    const bool steps = standard == "forecast_period" || name == "step" || name == "leadtime" ||
                       name == "lead_time" || name == "forecast_period";
    if (!steps) {
      const bool vertical = text(*own, "axis") == "z" || !text(*own, "positive").empty() ||
                            standard == "air_pressure" || is_level_name(name) ||
                            is_pressure_unit(text(*own, "units"));
      if (vertical || dimension(d).length > 1) set(d, AxisRole::level, own);
    } else if (dimension(d).length > 1) {
      axes_.unusable[d] = fmt::format(
          "axis {} counts the steps of forecasts, which cannot be told from their times",
          dimension(d).name);
    }
  }

  // The steps of one forecast are times, if there is a variable that dates them.
  void let_steps_be_times() {
    const int old = axes_.time_dimension;
    if (old >= 0 && dimension(old).length != 1) return;
    for (const auto& [d, reason] : axes_.unusable) {
      const bool is_dated = std::ranges::any_of(file_.variables(), [&](const NetcdfVariable& v) {
        return is_along(v, d) && is_calendar(v);
      });
      if (!is_dated) continue;
      axes_.roles.erase(old);
      set(d, AxisRole::time, own_coordinate(d));
      axes_.time_dimension = d;
      axes_.time_kind = TimeKind::calendar;
      axes_.unusable.erase(d);
      return;
    }
  }

  void set(int d, AxisRole role, const NetcdfVariable* coordinate) {
    axes_.roles[d] = {role, coordinate};
  }

  // One time axis counts: a calendar goes before a climatology, the first before others.
  void set_time(int d, TimeKind kind) {
    if (axes_.time_dimension >= 0) {
      if (kind == TimeKind::climatology || axes_.time_kind == TimeKind::calendar) {
        axes_.unusable[d] = fmt::format("a second axis of time, {}", dimension(d).name);
        return;
      }
      axes_.unusable[axes_.time_dimension] =
          fmt::format("a second axis of time, {}", dimension(axes_.time_dimension).name);
      axes_.roles.erase(axes_.time_dimension);
    }
    set(d, AxisRole::time, own_coordinate(d));
    axes_.time_dimension = d;
    axes_.time_kind = kind;
  }

  // The variable that dates the images. Of a forecast that is the time it is valid at, not the one
  // it started at.
  void find_time() {
    if (axes_.time_kind == TimeKind::climatology) return;
    const int d = axes_.time_dimension;
    std::vector<const NetcdfVariable*> dated;
    for (const NetcdfVariable& v : file_.variables()) {
      const bool here = d >= 0 ? is_along(v, d) : v.dtype && v.dimensions.empty();
      if (here && is_calendar(v)) dated.push_back(&v);
    }
    const auto rank = [](const NetcdfVariable* v) {
      return std::ranges::find(kTimeNames, lower(v->local_name())) - kTimeNames.begin();
    };
    std::ranges::stable_sort(dated, {}, rank);
    if (!dated.empty()) axes_.time = dated[0];
    if (axes_.time == nullptr && d >= 0) axes_.time = own_coordinate(d);
    if (axes_.time == nullptr && d < 0) {
      for (const std::string_view name : kTimeNames) {
        const NetcdfVariable* v = file_.find(std::string(name));
        const bool scalar = v != nullptr && v->dtype && v->dimensions.empty();
        if (scalar && text(*v, "standard_name") != "forecast_reference_time") {
          axes_.time = v;
          break;
        }
      }
    }
    if (axes_.time != nullptr) axes_.time_kind = TimeKind::calendar;
  }

  void require(AxisRole role, const char* what) const {
    for (const auto& [d, axis] : axes_.roles) {
      if (axis.role == role) return;
    }
    std::string reason =
        "only regular latitude-longitude grids can be read; remap others first, for example with "
        "cdo remapbil,r360x180 IN OUT.nc";
    if (!unstructured_.empty()) {
      reason =
          fmt::format("its latitudes and longitudes both lie along {}; {}", unstructured_, reason);
    } else {
      for (const NetcdfVariable& v : file_.variables()) {
        const bool fits = role == AxisRole::latitude ? is_latitude(v) : is_longitude(v);
        if (!v.dtype || !fits || v.dimensions.size() < 2) continue;
        reason = fmt::format("{} is a field of {} axes, as on curved or rotated grids; {}", v.name,
                             v.dimensions.size(), reason);
        break;
      }
    }
    throw DataError(fmt::format("{}: has no {} axis; {}", file_.path(), what, reason));
  }

  const NetcdfFile& file_;
  GridAxes axes_;
  std::string unstructured_;  // dimension with latitudes and longitudes
};

}  // namespace

GridAxes find_axes(const NetcdfFile& file) {
  return AxisFinder(file).find();
}

}  // namespace trib::io
