#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <set>

#include <fmt/format.h>

#include "io/cube/spectral_plan.h"
#include "io/text.h"
#include "io/wavelengths.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::vector<double> parse_all(const std::vector<std::string>& items, const char* parameter) {
  std::vector<double> values;
  for (const std::string& item : items) {
    const auto value = parse_wavelength(item);
    if (!value || *value <= 0) {
      throw ConfigError(fmt::format(
          "{}: '{}' is no wavelength, expected for example 450nm or 0.45um", parameter, item));
    }
    values.push_back(*value);
  }
  return values;
}

// Mean distance to the centres next to each, in the order given.
std::vector<double> spacings(const std::vector<double>& centres) {
  std::vector<double> sorted = centres;
  std::ranges::sort(sorted);
  std::vector<double> widths;
  for (const double c : centres) {
    const auto i = std::ranges::lower_bound(sorted, c) - sorted.begin();
    const double low = sorted[static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, i - 1))];
    const double high = sorted[static_cast<std::size_t>(std::min(std::ssize(sorted) - 1, i + 1))];
    widths.push_back(i > 0 && i + 1 < std::ssize(sorted) ? (high - low) / 2 : high - low);
  }
  return widths;
}

void check_distinct(const std::vector<SpectralTarget>& targets, const std::string& where) {
  std::set<double> centres;
  std::set<std::string> names;
  for (const SpectralTarget& t : targets) {
    if (!t.name.empty() && !names.insert(t.name).second) {
      throw ConfigError(fmt::format("{}: two bands are called '{}'", where, t.name));
    }
    if (!centres.insert(t.centre_nm).second) {
      throw ConfigError(fmt::format("{}: the centre {:g}nm is given twice", where, t.centre_nm));
    }
  }
}

double parse_number(const std::string& text, const std::string& path, int line) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value > 0) ||
      !std::isfinite(value)) {
    throw DataError(fmt::format("{}:{}: expected a number above 0, found '{}'", path, line, text));
  }
  return value;
}

}  // namespace

std::vector<SpectralTarget> spectral_targets(const std::vector<std::string>& centres,
                                             const std::vector<std::string>& widths) {
  const std::vector<double> centres_nm = parse_all(centres, "centres");
  std::vector<double> widths_nm = parse_all(widths, "widths");
  if (widths_nm.empty()) {
    if (centres_nm.size() < 2) throw ConfigError("widths: must be given for a single centre");
    widths_nm = spacings(centres_nm);
  }
  if (widths_nm.size() == 1) widths_nm.resize(centres_nm.size(), widths_nm.front());
  if (widths_nm.size() != centres_nm.size()) {
    throw ConfigError(fmt::format("widths: {} are given for {} centres, expected one or as many",
                                  widths_nm.size(), centres_nm.size()));
  }
  std::vector<SpectralTarget> targets;
  for (std::size_t i = 0; i < centres_nm.size(); ++i) {
    targets.push_back({centres_nm[i], widths_nm[i], ""});
  }
  check_distinct(targets, "centres");
  return targets;
}

std::vector<SpectralTarget> read_sensor_table(const std::string& path) {
  std::ifstream stream(path);
  std::string line;
  if (!stream || !std::getline(stream, line)) {
    throw DataError(fmt::format("{}: the table of a sensor's bands cannot be read", path));
  }
  if (line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);  // byte order mark
  const std::vector<std::string> columns = split_at_commas(lower(line));
  const auto column = [&](const char* name) { return std::ranges::find(columns, name); };
  for (const char* name : {"wavelength", "fwhm"}) {
    if (column(name) == columns.end()) {
      throw DataError(fmt::format("{}:1: there is no column '{}' in '{}'", path, name, trim(line)));
    }
  }
  std::vector<SpectralTarget> targets;
  std::vector<double> wavelengths;
  for (int number = 2; std::getline(stream, line); ++number) {
    if (trim(line).empty()) continue;
    const std::vector<std::string> fields = split_at_commas(line);
    if (fields.size() != columns.size()) {
      throw DataError(fmt::format("{}:{}: expected {} columns, found {}", path, number,
                                  columns.size(), fields.size()));
    }
    const auto field = [&](const char* name) {
      return fields[static_cast<std::size_t>(column(name) - columns.begin())];
    };
    targets.push_back({parse_number(field("wavelength"), path, number),
                       parse_number(field("fwhm"), path, number),
                       column("name") == columns.end() ? "" : field("name")});
    wavelengths.push_back(targets.back().centre_nm);
  }
  if (targets.empty()) throw DataError(fmt::format("{}: has no bands", path));
  const double factor = nanometres_per("", wavelengths);
  for (SpectralTarget& t : targets) {
    t.centre_nm *= factor;
    t.fwhm_nm *= factor;
  }
  check_distinct(targets, path);
  return targets;
}

}  // namespace trib::io
