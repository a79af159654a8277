#include "io/grid/grid_levels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>

#include <fmt/format.h>

#include "io/image.h"
#include "io/text.h"

namespace trib::io {
namespace {

constexpr std::array<std::string_view, 5> kPressureNames{"pressure_level", "isobaricinhpa",
                                                         "isobaricinpa", "plev", "pressure"};
constexpr std::array<std::string_view, 2> kAnyLevelNames{"level", "lev"};
constexpr std::array<std::string_view, 4> kModelLevelNames{"hybrid", "model_level",
                                                           "model_level_number", "hybrid_level"};

// Factor from units of pressure to hPa; none for other units.
std::optional<double> pressure_factor(std::string_view units) {
  constexpr std::array<std::string_view, 8> kHecto{
      "hpa", "mb", "mbar", "millibar", "millibars", "hectopascal", "hectopascals", "hpascal"};
  if (is_one_of(units, kHecto)) return 1.0;
  if (units == "pa" || units == "pascal" || units == "pascals") return 0.01;
  if (units == "bar") return 1000.0;
  return std::nullopt;
}

// What a vertical axis counts.
enum class LevelKind : std::uint8_t { hectopascal, pascal, bar, model, other };

LevelKind level_kind(const NetcdfFile& file, const std::string& dimension,
                     const NetcdfVariable* v) {
  const std::string name = lower(dimension);
  if (v == nullptr) return LevelKind::model;
  const std::string units = lower(file.text(*v, "units"));
  const std::string standard = lower(file.text(*v, "standard_name"));
  const std::string long_name = lower(file.text(*v, "long_name"));
  const auto says = [&](std::string_view word) {
    return standard.find(word) != std::string::npos || long_name.find(word) != std::string::npos;
  };
  if (const auto factor = pressure_factor(units); factor && !says("hybrid")) {
    return *factor == 1.0    ? LevelKind::hectopascal
           : *factor == 0.01 ? LevelKind::pascal
                             : LevelKind::bar;
  }
  if (is_one_of(name, kModelLevelNames) || says("hybrid") || says("model") ||
      says("atmosphere_sigma") || says("atmosphere_ln_pressure")) {
    return LevelKind::model;
  }
  const bool without_units = units.empty() || units == "1";
  if (name == "isobaricinpa") return LevelKind::pascal;
  if (standard == "air_pressure" || is_one_of(name, kPressureNames)) return LevelKind::hectopascal;
  if (is_one_of(name, kAnyLevelNames) && without_units && standard.empty()) {
    return LevelKind::hectopascal;
  }
  return LevelKind::other;
}

// `number` counts model levels.
GridLevel level_at(LevelKind kind, const std::string& axis, double value, double number) {
  double hpa = value;
  switch (kind) {
    case LevelKind::model:
      return {kUnknown, fmt::format("l{:g}", number)};
    case LevelKind::other:
      return {kUnknown, fmt::format("{}{:g}", axis, value)};
    case LevelKind::pascal:
      hpa = value * 0.01;
      break;
    case LevelKind::bar:
      hpa = value * 1000;
      break;
    case LevelKind::hectopascal:
      break;
  }
  return {hpa, fmt::format("{:g}", hpa)};
}

}  // namespace

bool is_level_name(std::string_view name) {
  return is_one_of(name, kAnyLevelNames) || is_one_of(name, kModelLevelNames) ||
         is_one_of(name, kPressureNames);
}

bool is_pressure_unit(std::string_view units) {
  return pressure_factor(units).has_value();
}

std::vector<GridLevel> levels_of(const NetcdfFile& file, const NetcdfDimension& dimension,
                                 const NetcdfVariable* v) {
  LevelKind kind = level_kind(file, dimension.name, v);
  std::vector<double> values(static_cast<std::size_t>(dimension.length));
  if (v != nullptr) values = file.values(*v);
  // Levels without units that cannot be hPa are Pa.
  if (kind == LevelKind::hectopascal && file.text(*v, "units").empty() &&
      std::ranges::any_of(values, [](double x) { return x > 2000; })) {
    kind = LevelKind::pascal;
  }
  // Hybrid levels may be given by their numbers or by some coordinate: then they are counted.
  const bool numbered =
      v != nullptr && std::ranges::all_of(values, [](double x) { return x == std::round(x); });
  std::vector<GridLevel> levels;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double number = numbered ? values[i] : static_cast<double>(i + 1);
    levels.push_back(level_at(kind, dimension.name, values[i], number));
  }
  return levels;
}

std::vector<GridLevel> scalar_level(const NetcdfFile& file, const NetcdfVariable& variable) {
  const std::string coordinates = " " + file.text(variable, "coordinates") + " ";
  for (const NetcdfVariable& v : file.variables()) {
    const std::string name = v.local_name();
    if (!v.dtype || !v.dimensions.empty() ||
        coordinates.find(fmt::format(" {} ", name)) == std::string::npos) {
      continue;
    }
    const bool is_pressure = lower(file.text(v, "standard_name")) == "air_pressure";
    if (!is_pressure && !is_level_name(lower(name))) continue;
    const double value = file.values(v)[0];
    return {level_at(level_kind(file, name, &v), name, value, value)};
  }
  return {};
}

}  // namespace trib::io
