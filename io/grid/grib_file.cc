#include "io/grid/grib_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include <cpl_conv.h>
#include <fmt/format.h>
#include <gdal_priv.h>

#include "io/grid/grib_messages.h"
#include "io/grid/variable_names.h"
#include "io/text.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// GDAL turns kelvins into degrees Celsius and longitudes into -180..180 unless told otherwise.
class GribAsWritten {
 public:
  GribAsWritten() { set("NO"); }
  ~GribAsWritten() { set(nullptr); }
  GribAsWritten(const GribAsWritten&) = delete;
  GribAsWritten& operator=(const GribAsWritten&) = delete;

 private:
  static void set(const char* value) {
    CPLSetThreadLocalConfigOption("GRIB_NORMALIZE_UNITS", value);
    CPLSetThreadLocalConfigOption("GRIB_ADJUST_LONGITUDE_RANGE", value);
  }
};

// Names of edition 2 (NCEP's, as GDAL has them) and ECMWF's short names of the same.
struct Element {
  std::string_view grib, level, name;  // level: code and value, empty for any
};
constexpr Element kElements[] = {{"TMP", "2-HTGL", "t2m"},
                                 {"TMP", "", "t"},
                                 {"DPT", "2-HTGL", "d2m"},
                                 {"UGRD", "10-HTGL", "u10"},
                                 {"UGRD", "100-HTGL", "u100"},
                                 {"UGRD", "", "u"},
                                 {"VGRD", "10-HTGL", "v10"},
                                 {"VGRD", "100-HTGL", "v100"},
                                 {"VGRD", "", "v"},
                                 {"GP", "", "z"},
                                 {"HGT", "", "gh"},
                                 {"SPFH", "", "q"},
                                 {"RH", "", "r"},
                                 {"VVEL", "", "w"},
                                 {"PRMSL", "", "msl"},
                                 {"MSLET", "", "msl"},
                                 {"PRES", "0-SFC", "sp"},
                                 {"LAND", "", "lsm"},
                                 {"ABSV", "", "absv"},
                                 {"O3MR", "", "o3"}};

std::string variable_name(const std::string& element, const std::string& level) {
  for (const Element& e : kElements) {
    if (e.grib == element && (e.level.empty() || e.level == level)) return std::string(e.name);
  }
  return short_variable_name(lower(element));
}

// GDAL's "[m^2/s^2]" as NetCDF files of ECMWF write it: "m**2 s**-2".
std::string units_of(std::string_view text) {
  if (text.size() > 2 && text.front() == '[') text = text.substr(1, text.size() - 2);
  std::string out;
  bool below = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("/ *"), text.size());
    std::string factor(text.substr(0, end));
    std::erase_if(factor, [](char c) { return c == '(' || c == ')'; });
    if (!factor.empty()) {
      const std::size_t power = factor.find('^');
      std::string exponent = power == std::string::npos ? "1" : factor.substr(power + 1);
      if (below) exponent = exponent[0] == '-' ? exponent.substr(1) : "-" + exponent;
      if (!out.empty()) out += ' ';
      out += factor.substr(0, power) + (exponent == "1" ? "" : "**" + exponent);
    }
    below = end < text.size() && text[end] == '/';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// "500[hPa] ISBL (Isobaric surface)", "50000[Pa] ISBL=...": what the level of a band is.
struct BandLevel {
  GridLevel level;
  std::string code;  // "500-ISBL"
};

BandLevel band_level(const std::string& description, const std::string& code,
                     const std::string& name) {
  const double value = std::strtod(description.c_str(), nullptr);
  const std::size_t dash = code.rfind('-');
  const std::string kind = dash == std::string::npos ? "" : code.substr(dash + 1);
  if (kind == "ISBL") {
    const double hpa = description.find("[Pa]") != std::string::npos ? value / 100 : value;
    return {{hpa, fmt::format("{:g}", hpa)}, code};
  }
  if (kind == "HYBL") return {{kUnknown, fmt::format("l{:g}", value)}, code};
  const bool named_by_height = name == "t2m" || name == "d2m" || name == "u10" || name == "v10" ||
                               name == "u100" || name == "v100";
  if (kind == "HTGL" && !named_by_height && value != 0) {
    return {{kUnknown, fmt::format("height{:g}", value)}, code};
  }
  return {{kUnknown, ""}, code};
}

// One variable at one level, and the bands that hold it.
struct Layer {
  std::string variable, units, element;
  GridLevel level;
  std::map<std::pair<double, int>, int> bands;  // by time and member
  std::string unfit;                            // why it cannot be offered
};

class GribHeaderBuilder {
 public:
  explicit GribHeaderBuilder(const std::string& path) : path_(path), scan_(scan_grib(path)) {
    prepare_gdal();
    if (GDALGetDriverByName("GRIB") == nullptr) {
      throw DataError(fmt::format(
          "{}: is a GRIB file, which this GDAL has no driver for; convert it (cdo -f nc4 copy)",
          path));
    }
    for (const GribField& field : scan_.fields) {
      if (field.is_lat_lon) continue;
      throw DataError(
          fmt::format("{0}: GRIB message {1} is not on a regular latitude-longitude grid; convert "
                      "a Gaussian one "
                      "with: cdo -f nc4 setgridtype,regular '{0}' OUT.nc, another with: cdo -f nc4 "
                      "remapbil,r1440x720 '{0}' OUT.nc",
                      path, field.message));
    }
  }

  std::vector<GridHeader> build() {
    // Past the end of the last message GDAL complains about rubbish, and loudly.
    common_.path = path_;
    common_.gdal_path = fmt::format("/vsisubfile/0_{},{}", scan_.end, path_);
    const GribAsWritten scope;
    const GdalDataset dataset(common_.gdal_path, "GRIB");
    const GdalErrors quiet;
    GDALDataset& gdal = dataset.gdal();
    if (gdal.GetRasterCount() != static_cast<int>(scan_.fields.size())) {
      throw DataError(fmt::format("{}: GDAL finds {} fields, its messages hold {}", path_,
                                  gdal.GetRasterCount(), scan_.fields.size()));
    }
    read_grid(gdal);
    for (int band = 1; band <= gdal.GetRasterCount(); ++band) add(*gdal.GetRasterBand(band), band);
    return group();
  }

 private:
  void read_grid(GDALDataset& gdal) {
    std::array<double, 6> g{};
    if (gdal.GetGeoTransform(g.data()) != CE_None || g[2] != 0 || g[4] != 0 || g[1] <= 0) {
      throw DataError(fmt::format("{}: has no regular latitude-longitude grid", path_));
    }
    // GRIB counts in thousandths or millionths of a degree.
    const auto centre = [](double edge, double step, int i) {
      return std::round((edge + (i + 0.5) * step) * 1e6) / 1e6;
    };
    for (int x = 0; x < gdal.GetRasterXSize(); ++x) {
      common_.grid.longitudes.push_back(centre(g[0], g[1], x));
    }
    for (int y = 0; y < gdal.GetRasterYSize(); ++y) {
      common_.grid.latitudes.push_back(centre(g[3], g[5], y));
    }
    common_.reversed_latitude = g[5] < 0;
    if (common_.reversed_latitude) std::ranges::reverse(common_.grid.latitudes);
  }

  void add(GDALRasterBand& band, int number) {
    const auto text = [&](const char* key) {
      const char* value = band.GetMetadataItem(key);
      return std::string(value == nullptr ? "" : value);
    };
    const std::string element = text("GRIB_ELEMENT"), code = text("GRIB_SHORT_NAME");
    const std::string name = variable_name(element, code);
    const BandLevel at = band_level(band.GetDescription(), code, name);
    const double time = std::strtod(text("GRIB_VALID_TIME").c_str(), nullptr);

    auto layer = std::ranges::find_if(layers_, [&](const Layer& l) {
      return l.variable == name && l.level.label == at.level.label;
    });
    if (layer == layers_.end()) {
      layers_.push_back({name, units_of(text("GRIB_UNIT")), element, at.level, {}, ""});
      layer = layers_.end() - 1;
    }
    const int member = scan_.fields[static_cast<std::size_t>(number - 1)].member;
    const auto [entry, is_new] = layer->bands.try_emplace({time, member}, number);
    if (!is_new && layer->unfit.empty()) {
      layer->unfit = fmt::format("messages {} and {} hold it at the same time",
                                 message(entry->second), message(number));
    }
  }

  std::int64_t message(int band) const {
    return scan_.fields[static_cast<std::size_t>(band - 1)].message;
  }

  // Fields with the same times and members go together.
  std::vector<GridHeader> group() {
    using Key = std::pair<std::vector<double>, std::vector<int>>;
    std::map<Key, std::size_t> index;
    std::vector<GridHeader> headers;
    for (const Layer& layer : layers_) {
      std::set<double> times;
      std::set<int> members;
      for (const auto& [at, band] : layer.bands) {
        times.insert(at.first);
        members.insert(at.second);
      }
      std::string unfit = layer.unfit;
      if (unfit.empty() && layer.bands.size() != times.size() * members.size()) {
        unfit = fmt::format("{} of its {} times lack some of the {} members",
                            times.size() * members.size() - layer.bands.size(), times.size(),
                            members.size());
      }
      if (!unfit.empty()) {
        common_.left_out.push_back(fmt::format("{}{}{}: {}", layer.variable,
                                               layer.level.label.empty() ? "" : "_",
                                               layer.level.label, unfit));
        continue;
      }
      const Key key{{times.begin(), times.end()}, {members.begin(), members.end()}};
      const auto [entry, is_new] = index.try_emplace(key, headers.size());
      if (is_new) headers.push_back(header_of(key.first, key.second));
      add_layer(layer, headers[entry->second]);
    }
    if (headers.empty()) {
      throw DataError(fmt::format("{}: no field can be read; left out: {}", path_,
                                  fmt::join(common_.left_out, "; ")));
    }
    headers[0].left_out = common_.left_out;
    return headers;
  }

  GridHeader header_of(const std::vector<double>& times, const std::vector<int>& members) const {
    GridHeader header = common_;
    header.left_out.clear();
    header.time_kind = TimeKind::calendar;
    header.times = times;
    header.num_members = static_cast<std::int64_t>(members.size());
    return header;
  }

  static void add_layer(const Layer& layer, GridHeader& header) {
    const bool has_level = !layer.level.label.empty();
    auto variable = std::ranges::find_if(header.variables, [&](const GridVariable& v) {
      return v.name == layer.variable && has_level && !v.levels.empty();
    });
    if (variable == header.variables.end()) {
      GridVariable v;
      v.variable.name = layer.element;
      v.variable.dtype = DType::f64;
      v.name = layer.variable;
      v.units = layer.units;
      v.roles = {AxisRole::time, AxisRole::latitude, AxisRole::longitude};
      if (header.num_members > 1) v.roles.push_back(AxisRole::member);
      header.variables.push_back(std::move(v));
      variable = header.variables.end() - 1;
    }
    if (has_level) variable->levels.push_back(layer.level);
    // The map is in the order of times, then members.
    for (const auto& [at, band] : layer.bands) variable->bands.push_back(band);
  }

  const std::string& path_;
  GribScan scan_;
  GridHeader common_;
  std::vector<Layer> layers_;
};

}  // namespace

std::vector<GridHeader> read_grib_headers(const std::string& path) {
  return GribHeaderBuilder(path).build();
}

void read_grib_field(GdalPool& pool, const GridHeader& header, const GridVariable& variable,
                     const SlabRequest& request, const Affine& affine, float* out_yx) {
  const auto num_times = static_cast<std::int64_t>(header.times.size());
  const std::int64_t of_member = variable.has(AxisRole::member) ? request.member : 0;
  const std::int64_t place =
      (request.first_level * num_times + request.time) * header.num_members + of_member;
  const Window& window = request.window;
  const int band_number = variable.bands[static_cast<std::size_t>(place)];
  const auto num_rows = static_cast<std::int64_t>(header.grid.latitudes.size());
  const std::int64_t first_row =
      header.reversed_latitude ? num_rows - window.y - window.height : window.y;

  const GribAsWritten scope;
  std::unique_ptr<GdalDataset> dataset = pool.take(header.gdal_path, "GRIB");
  std::vector<double> values(static_cast<std::size_t>(window.height * window.width));
  const GdalErrors errors;
  GDALRasterBand* band = dataset->gdal().GetRasterBand(band_number);
  const auto to_int = [](std::int64_t n) { return static_cast<int>(n); };
  if (band == nullptr ||
      band->RasterIO(GF_Read, to_int(window.x), to_int(first_row), to_int(window.width),
                     to_int(window.height), values.data(), to_int(window.width),
                     to_int(window.height), GDT_Float64, 0, 0, nullptr) != CE_None) {
    throw DataError(fmt::format("{}: cannot read field {} ({}): {}", header.path, band_number,
                                variable.name, errors.text()));
  }
  int has_missing = 0;
  const double missing = band->GetNoDataValue(&has_missing);
  pool.give_back(std::move(dataset));
  for (std::int64_t y = 0; y < window.height; ++y) {
    const std::int64_t row = header.reversed_latitude ? window.height - 1 - y : y;
    for (std::int64_t x = 0; x < window.width; ++x) {
      const double value = values[static_cast<std::size_t>(row * window.width + x)];
      *out_yx++ = has_missing != 0 && value == missing
                      ? std::numeric_limits<float>::quiet_NaN()
                      : static_cast<float>(value * affine.scale + affine.offset);
    }
  }
}

}  // namespace trib::io
