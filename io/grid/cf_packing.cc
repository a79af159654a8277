#include "io/grid/cf_packing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace trib::io {
namespace {

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64;
}

// What libnetcdf fills elements with that are never written, unless told otherwise; none for bytes,
// of which any may be meant.
std::optional<double> default_fill(DType stored) {
  switch (stored) {
    case DType::f32:
    case DType::f64:
      return 9.969209968386869e36;
    case DType::i16:
      return -32767;
    case DType::u16:
      return 65535;
    case DType::i32:
      return -2147483647;
    case DType::u32:
      return 4294967295;
    default:
      return {};
  }
}

DType unsigned_of(DType dtype) {
  switch (dtype) {
    case DType::i8:
      return DType::u8;
    case DType::i16:
      return DType::u16;
    case DType::i32:
      return DType::u32;
    case DType::i64:
      return DType::u64;
    default:
      return dtype;
  }
}

DType signed_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return DType::i8;
    case DType::u16:
      return DType::i16;
    case DType::u32:
      return DType::i32;
    case DType::u64:
      return DType::i64;
    default:
      return dtype;
  }
}

}  // namespace

DType cf_dtype(const NetcdfFile& file, const NetcdfVariable& variable) {
  const std::string sign = file.text(variable, "_Unsigned");
  if (sign == "true" || sign == "True" || sign == "TRUE") return unsigned_of(*variable.dtype);
  if (sign == "false" || sign == "False" || sign == "FALSE") return signed_of(*variable.dtype);
  return *variable.dtype;
}

Packing cf_packing(const NetcdfFile& file, const NetcdfVariable& variable) {
  Packing packing;
  const DType stored = *variable.dtype, dtype = cf_dtype(file, variable);
  // Attributes are of the stored type: what is meant unsigned is written as a negative number, and
  // the other way round.
  const double turn = std::ldexp(1.0, static_cast<int>(8 * size_of(stored)));
  const auto reinterpret = [&](double number) {
    if (dtype == stored) return number;
    if (dtype == unsigned_of(stored)) return number < 0 ? number + turn : number;
    return number >= turn / 2 ? number - turn : number;
  };
  const auto numbers = [&](const char* attribute) {
    std::vector<double> values = file.numbers(variable, attribute);
    std::ranges::transform(values, values.begin(), reinterpret);
    return values;
  };

  const auto scale = file.numbers(variable, "scale_factor");
  const auto offset = file.numbers(variable, "add_offset");
  if (!scale.empty()) packing.scale = scale[0];
  if (!offset.empty()) packing.offset = offset[0];
  packing.missing = numbers("_FillValue");
  const auto more = numbers("missing_value");
  packing.missing.insert(packing.missing.end(), more.begin(), more.end());
  if (const auto fill = default_fill(stored); fill && packing.missing.empty()) {
    packing.missing.push_back(reinterpret(*fill));
  }

  const bool is_packed = !scale.empty() || !offset.empty();
  const auto limit = [&](const char* attribute, std::size_t index, double& low, double& high,
                         bool is_low) {
    const std::vector<double> values = numbers(attribute);
    if (index >= values.size() || std::isnan(values[index])) return;
    double value = values[index];
    bool low_end = is_low;
    if (is_packed && !is_float(stored) && is_float(*file.type_of(variable, attribute))) {
      // Of unpacked values: a hair wider, since it goes through a division.
      value = (value - packing.offset) / packing.scale;
      low_end = is_low == (packing.scale > 0);
      value += low_end ? -1e-6 : 1e-6;
    }
    (low_end ? low : high) = value;
  };
  double &low = packing.valid_min, &high = packing.valid_max;
  if (file.numbers(variable, "valid_range").size() == 2) {
    limit("valid_range", 0, low, high, true);
    limit("valid_range", 1, low, high, false);
  } else {
    limit("valid_min", 0, low, high, true);
    limit("valid_max", 0, low, high, false);
  }
  return packing;
}

}  // namespace trib::io
