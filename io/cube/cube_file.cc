#include "io/cube/cube_file.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t comma = text.find(',');
    parts.push_back(trim(text.substr(0, comma)));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

std::int64_t num_elements(const Hdf5Dataset& d) {
  return std::accumulate(d.shape.begin(), d.shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string shape_text(const Hdf5Dataset& d) {
  return fmt::format("[{}]", fmt::join(d.shape, ", "));
}

std::string list_datasets(const std::vector<const Hdf5Dataset*>& datasets) {
  std::vector<std::string> texts;
  for (const Hdf5Dataset* d : datasets) {
    texts.push_back(fmt::format("{} {} {}", d->path, d->stored_type, shape_text(*d)));
  }
  return texts.empty() ? "no datasets" : fmt::format("{}", fmt::join(texts, "; "));
}

bool is_wavelength_name(const std::string& name) {
  const std::string n = lower(name);
  return n == "wavelength" || n == "wavelengths" || n == "wavelength_nm" || n == "wavelengths_nm";
}

// Factor to nanometres by the units' name, else by size: no optical band lies below 100 nm, and
// none beyond 100 micrometres.
double nanometres(const std::string& units, const std::vector<double>& values) {
  const std::string u = lower(units);
  if (u.find("nano") != std::string::npos || u == "nm") return 1;
  if (u.find("micro") != std::string::npos || u == "um" || u == "\xc2\xb5m" || u == "\xce\xbcm") {
    return 1000;
  }
  return std::ranges::max(values) < 100 ? 1000 : 1;
}

class CubeFinder {
 public:
  CubeFinder(const Hdf5File& file, const CubeOptions& options) : file_(file), options_(options) {}

  CubeHeader find() {
    cube_.path = file_.path();
    cube_.dataset = find_dataset();
    find_wavelengths();
    find_axes();
    name_channels();
    find_packing();
    find_georeference();
    find_labels();
    return std::move(cube_);
  }

 private:
  const std::string& dataset() const { return cube_.dataset.path; }
  std::string place() const { return cube_.path + dataset(); }

  std::vector<const Hdf5Dataset*> all() const {
    std::vector<const Hdf5Dataset*> list;
    for (const Hdf5Dataset& d : file_.datasets()) list.push_back(&d);
    return list;
  }

  const Hdf5Dataset& find_dataset() const {
    if (options_.dataset.empty()) return largest_cube();
    const Hdf5Dataset* found = file_.find(options_.dataset);
    if (found == nullptr) {
      std::vector<const Hdf5Dataset*> named;
      for (const Hdf5Dataset& d : file_.datasets()) {
        if (d.name() == options_.dataset) named.push_back(&d);
      }
      if (named.empty()) {
        throw DataError(fmt::format("{}: has no dataset \"{}\"; it has {}", file_.path(),
                                    options_.dataset, list_datasets(all())));
      }
      if (named.size() > 1) {
        throw ConfigError(fmt::format("{}: several datasets are called \"{}\", give the path: {}",
                                      file_.path(), options_.dataset, list_datasets(named)));
      }
      found = named.front();
    }
    if (found->shape.size() != 3) {
      throw DataError(fmt::format("{}{} has {} axes {}, expected 3 (y, x, channel)", file_.path(),
                                  found->path, found->shape.size(), shape_text(*found)));
    }
    if (!found->dtype) {
      throw DataError(fmt::format("{}{} holds {}, expected numbers", file_.path(), found->path,
                                  found->stored_type));
    }
    return *found;
  }

  const Hdf5Dataset& largest_cube() const {
    std::vector<const Hdf5Dataset*> cubes;
    for (const Hdf5Dataset& d : file_.datasets()) {
      if (d.dtype && d.shape.size() == 3 && num_elements(d) > 0) cubes.push_back(&d);
    }
    if (cubes.empty()) {
      throw DataError(fmt::format("{}: has no dataset of numbers with 3 axes; it has {}",
                                  file_.path(), list_datasets(all())));
    }
    const auto larger = [](const Hdf5Dataset* a, const Hdf5Dataset* b) {
      return num_elements(*a) > num_elements(*b);
    };
    std::ranges::stable_sort(cubes, larger);
    if (cubes.size() > 1 && !larger(cubes[0], cubes[1])) {
      throw ConfigError(fmt::format("{}: several datasets may be the cube, choose one: {}",
                                    file_.path(), list_datasets(cubes)));
    }
    return *cubes.front();
  }

  bool fits_an_axis(std::size_t length) const {
    return std::ranges::find(cube_.dataset.shape, static_cast<std::int64_t>(length)) !=
           cube_.dataset.shape.end();
  }

  void take_wavelengths(std::vector<double> values, const std::string& units,
                        const std::string& from) {
    if (!fits_an_axis(values.size())) {
      throw DataError(fmt::format("{}: {} wavelengths in {}, none of the axes {} is as long",
                                  place(), values.size(), from, shape_text(cube_.dataset)));
    }
    const double factor = nanometres(units, values);
    for (double& v : values) v *= factor;
    wavelengths_ = std::move(values);
  }

  void find_wavelengths() {
    if (!options_.wavelengths.empty()) return find_given_wavelengths(options_.wavelengths);
    for (const char* name : {"wavelength", "wavelengths"}) {
      if (take_attribute(dataset(), name)) return;
    }
    // Of several datasets the one nearest to the cube: with the longest path in common.
    const Hdf5Dataset* nearest = nullptr;
    std::ptrdiff_t most_common = -1;
    for (const Hdf5Dataset& d : file_.datasets()) {
      if (!d.dtype || d.shape.size() != 1 || !is_wavelength_name(d.name()) ||
          !fits_an_axis(static_cast<std::size_t>(d.shape[0]))) {
        continue;
      }
      const std::ptrdiff_t common = std::ranges::mismatch(d.path, dataset()).in1 - d.path.begin();
      if (common > most_common) {
        most_common = common;
        nearest = &d;
      }
    }
    if (nearest != nullptr) {
      take_wavelengths(file_.values(*nearest), file_.text(nearest->path, "units"), nearest->path);
      return;
    }
    for (const char* name : {"wavelength", "wavelengths"}) {
      if (take_attribute("/", name)) return;
    }
  }

  bool take_attribute(const std::string& object, const std::string& name) {
    std::vector<double> values = file_.numbers(object, name);
    if (values.empty() || !fits_an_axis(values.size())) return false;
    take_wavelengths(std::move(values), file_.text(object, name + "_units"), object + "/" + name);
    return true;
  }

  void find_given_wavelengths(const std::string& path) {
    if (const Hdf5Dataset* d = file_.find(path); d != nullptr && d->dtype && d->shape.size() == 1) {
      return take_wavelengths(file_.values(*d), file_.text(path, "units"), path);
    }
    const std::size_t slash = path.rfind('/');
    const std::string object =
        slash == std::string::npos ? dataset() : (slash == 0 ? "/" : path.substr(0, slash));
    const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
    std::vector<double> values = file_.numbers(object, name);
    if (values.empty()) {
      throw DataError(fmt::format("{}: has no list of wavelengths \"{}\"", file_.path(), path));
    }
    take_wavelengths(std::move(values), file_.text(object, name + "_units"), path);
  }

  void set_axes(const std::string& axes) {
    cube_.axis_y = axes.find('y');
    cube_.axis_x = axes.find('x');
    cube_.axis_c = axes.find('c');
  }

  void find_axes() {
    if (options_.axes != "auto") {
      std::string sorted = options_.axes;
      std::ranges::sort(sorted);
      if (sorted != "cxy") {
        throw ConfigError(fmt::format("axes \"{}\", expected \"auto\" or a permutation of \"yxc\"",
                                      options_.axes));
      }
      set_axes(options_.axes);
    } else if (const std::string labelled = labelled_axes(); !labelled.empty()) {
      set_axes(labelled);
    } else {
      set_axes(axes_by_length());
    }
    const std::int64_t num_channels = cube_.dataset.shape[cube_.axis_c];
    if (!wavelengths_.empty() && std::ssize(wavelengths_) != num_channels) {
      throw DataError(fmt::format("{}: {} wavelengths for {} channels of {}", place(),
                                  wavelengths_.size(), num_channels, shape_text(cube_.dataset)));
    }
  }

  // "y,x,band" of an attribute as "yxc", empty if it is absent or says something else.
  std::string labelled_axes() const {
    static const std::set<std::string> kRows{"y", "row", "rows", "line", "lines"};
    static const std::set<std::string> kColumns{"x",   "column", "columns",
                                                "col", "sample", "samples"};
    static const std::set<std::string> kChannels{"c",     "channel",    "channels",   "band",
                                                 "bands", "wavelength", "wavelengths"};
    std::string axes;
    for (const std::string& label : split(lower(file_.text(dataset(), "dimension_labels")))) {
      if (kRows.contains(label)) axes += 'y';
      if (kColumns.contains(label)) axes += 'x';
      if (kChannels.contains(label)) axes += 'c';
    }
    std::string sorted = axes;
    std::ranges::sort(sorted);
    return sorted == "cxy" ? axes : "";
  }

  std::string axes_by_length() const {
    const auto& shape = cube_.dataset.shape;
    const auto length = std::ssize(wavelengths_);
    if (wavelengths_.empty() || std::ranges::count(shape, length) != 1) {
      throw ConfigError(fmt::format(
          "{}: cannot tell which axis of {} is the channel ({}); give axes, for example \"yxc\"",
          place(), shape_text(cube_.dataset),
          wavelengths_.empty() ? "there is no list of wavelengths"
                               : fmt::format("there are {} wavelengths", length)));
    }
    const auto at = std::ranges::find(shape, length) - shape.begin();
    return at == 0 ? "cyx" : at == 1 ? "ycx" : "yxc";
  }

  void name_channels() {
    const auto count = static_cast<std::size_t>(cube_.dataset.shape[cube_.axis_c]);
    cube_.channels.resize(count);
    // More decimals if bands lie closer together.
    for (const int decimals : {1, 2, 3}) {
      std::set<std::string> names;
      for (std::size_t c = 0; c < count; ++c) {
        Channel& channel = cube_.channels[c];
        if (wavelengths_.empty()) {
          channel.name = fmt::format("B{:02d}", c + 1);
        } else {
          channel.wavelength_nm = wavelengths_[c];
          channel.name = fmt::format("{:.{}f}nm", wavelengths_[c], decimals);
        }
        names.insert(channel.name);
      }
      if (names.size() == count) return;
    }
    throw DataError(fmt::format("{}: two channels have the same wavelength", place()));
  }

  void find_packing() {
    Packing& packing = cube_.packing;
    for (const char* name : {"scale_factor", "Scale Factor", "reflectance_scale_factor"}) {
      const auto scale = file_.numbers(dataset(), name);
      if (scale.empty() || scale[0] == 0) continue;
      packing.scale = std::abs(scale[0]) > 1 ? 1 / scale[0] : scale[0];
      break;
    }
    if (const auto offset = file_.numbers(dataset(), "add_offset"); !offset.empty()) {
      packing.offset = offset[0];
    }
    for (const char* name : {"_FillValue", "Data_Ignore_Value", "missing_value", "nodata"}) {
      const auto missing = file_.numbers(dataset(), name);
      packing.missing.insert(packing.missing.end(), missing.begin(), missing.end());
    }
    if (options_.scale) packing.scale = *options_.scale;
    if (options_.nodata) packing.missing = {*options_.nodata};
  }

  void find_georeference() {
    auto geo = std::make_shared<GeoReference>();
    const auto transform = file_.numbers(dataset(), "geotransform");
    const auto epsg = file_.numbers(dataset(), "epsg");
    if (transform.size() == 6) {
      std::ranges::copy(transform, geo->transform.begin());
      if (!epsg.empty()) geo->crs_wkt = fmt::format("EPSG:{:.0f}", epsg[0]);
    } else if (!take_map_info(*geo)) {
      return;
    }
    cube_.geo = std::move(geo);
  }

  // NEON's (and ENVI's) map info: projection, column and row of a tie point counted from 1, its
  // easting and northing, width and height of a pixel.
  bool take_map_info(GeoReference& geo) const {
    for (const Hdf5Dataset& d : file_.datasets()) {
      if (d.name() == "EPSG Code") geo.crs_wkt = "EPSG:" + file_.text(d);
    }
    for (const Hdf5Dataset& d : file_.datasets()) {
      if (d.name() != "Map_Info") continue;
      const std::vector<std::string> fields = split(file_.text(d));
      std::array<double, 6> v{};
      if (fields.size() < 7) return false;
      for (std::size_t i = 0; i < v.size(); ++i) {
        const std::string& f = fields[i + 1];
        if (std::from_chars(f.data(), f.data() + f.size(), v[i]).ec != std::errc{}) return false;
      }
      geo.transform = {v[2] - (v[0] - 1) * v[4], v[4], 0, v[3] + (v[1] - 1) * v[5], 0, -v[5]};
      return true;
    }
    return false;
  }

  void find_labels() {
    if (options_.labels.empty()) return;
    const Hdf5Dataset* found = file_.find(options_.labels);
    if (found == nullptr) {
      throw DataError(fmt::format("{}: has no dataset of labels \"{}\"; it has {}", file_.path(),
                                  options_.labels, list_datasets(all())));
    }
    if (!found->dtype || found->shape != std::vector<std::int64_t>{cube_.height(), cube_.width()}) {
      throw DataError(fmt::format("{}{}: labels are {} {}, expected numbers [{}, {}]", file_.path(),
                                  found->path, found->stored_type, shape_text(*found),
                                  cube_.height(), cube_.width()));
    }
    cube_.labels = *found;
  }

  const Hdf5File& file_;
  const CubeOptions& options_;
  CubeHeader cube_;
  std::vector<double> wavelengths_;  // nm, empty if unknown
};

}  // namespace

CubeHeader read_cube_header(const Hdf5File& file, const CubeOptions& options) {
  return CubeFinder(file, options).find();
}

}  // namespace trib::io
