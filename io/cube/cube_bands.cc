#include "io/cube/cube_bands.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "io/cube/cube_dataset.h"
#include "io/text.h"
#include "io/wavelengths.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

struct NumberList {
  std::vector<double> values;
  std::string units, from;
};

// The dataset, the groups around it from the inside out, and "/".
std::vector<std::string> objects_around(const std::string& dataset) {
  std::vector<std::string> objects{dataset};
  while (objects.back().size() > 1) {
    const std::string& last = objects.back();
    objects.push_back(last.substr(0, std::max<std::size_t>(1, last.rfind('/'))));
  }
  return objects;
}

// "Vnir" of "/HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube", as PRISMA names a detector.
std::string detector_of(const Hdf5Dataset& dataset) {
  const std::string name = dataset.name();
  return name.substr(0, std::min(name.find('_'), name.size()));
}

template <class Fits>
std::optional<NumberList> attribute_list(const Hdf5File& file, const std::string& object,
                                         const std::vector<std::string>& names, Fits fits) {
  for (const std::string& name : names) {
    std::vector<double> values = file.numbers(object, name);
    if (values.empty() || !fits(values.size())) continue;
    std::string units = file.text(object, name + "_units");
    if (units.empty()) units = file.text(object, "wavelength_units");
    return NumberList{std::move(values), std::move(units),
                      fmt::format("{}/{}", object == "/" ? "" : object, name)};
  }
  return {};
}

// Number of elements of a list: of a dataset along one axis, as MATLAB's [1, n] too. 0 if it is
// none.
std::size_t length_of_list(const Hdf5Dataset& dataset) {
  const auto longer = std::ranges::count_if(dataset.shape, [](auto extent) { return extent != 1; });
  if (dataset.shape.empty() || longer > 1 || (!dataset.dtype && dataset.stored_type != "text")) {
    return 0;
  }
  return static_cast<std::size_t>(std::ranges::max(dataset.shape));
}

// NetCDF-4 stores a dimension without a variable as a dataset that holds nothing.
bool is_bare_dimension(const Hdf5File& file, const Hdf5Dataset& dataset) {
  return file.text(dataset.path, "NAME").starts_with("This is a netCDF dimension but not");
}

// A list of numbers by name, whatever its case: attribute of the cube, dataset nearest to it (the
// longest path in common), attribute of the groups around it.
template <class Fits>
std::optional<NumberList> find_list(const Hdf5File& file, const Hdf5Dataset& dataset,
                                    const std::vector<std::string>& names, Fits fits) {
  if (auto list = attribute_list(file, dataset.path, names, fits)) return list;
  const Hdf5Dataset* nearest = nullptr;
  std::ptrdiff_t most_common = -1;
  for (const Hdf5Dataset& d : file.datasets()) {
    const std::size_t length = length_of_list(d);
    if (length == 0 || !fits(length) || std::ranges::find(names, lower(d.name())) == names.end() ||
        is_bare_dimension(file, d)) {
      continue;
    }
    const std::ptrdiff_t common = std::ranges::mismatch(d.path, dataset.path).in1 - d.path.begin();
    if (common > most_common) {
      most_common = common;
      nearest = &d;
    }
  }
  if (nearest != nullptr) {
    return NumberList{file.values(*nearest), file.text(nearest->path, "units"), nearest->path};
  }
  for (const std::string& object : objects_around(dataset.path)) {
    if (object == dataset.path) continue;
    if (auto list = attribute_list(file, object, names, fits)) return list;
  }
  return {};
}

std::vector<std::string> names_of_wavelengths(const Hdf5Dataset& dataset) {
  const std::string name = lower(dataset.name());
  const std::string begin = lower(detector_of(dataset)), end = name.substr(name.rfind('_') + 1);
  return {"wavelength",
          "wavelengths",
          "wavelength_nm",
          "wavelengths_nm",
          "center_wavelength",
          "center_wavelengths",
          "centre_wavelength",
          "centre_wavelengths",
          "central_wavelength",
          "central_wavelengths",
          "band_wavelength",
          "band_wavelengths",
          "band_centers",
          "band_centres",
          "wavelength_3d",
          "wvl",
          "lambda",
          "list_cw_" + begin,
          begin + "_wavelength",
          begin + "_wavelengths",
          end + "_wavelength",
          end + "_wavelengths"};
}

// What was meant by a number stored in 32 bits: 1037.05, not 1037.050048828125.
double as_written(double stored) {
  const auto narrow = static_cast<float>(stored);
  if (static_cast<double>(narrow) != stored) return stored;
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), narrow);
  double written = stored;
  if (error == std::errc{}) std::from_chars(text.data(), end, written);
  return written;
}

std::vector<double> in_nanometres(NumberList list) {
  const double factor = nanometres_per(list.units, list.values);
  for (double& v : list.values) v = as_written(v) * factor;
  return std::move(list.values);
}

NumberList given_list(const Hdf5File& file, const Hdf5Dataset& dataset, const std::string& path) {
  if (const Hdf5Dataset* d = file.find(path); d != nullptr && length_of_list(*d) > 0) {
    return {file.values(*d), file.text(d->path, "units"), path};
  }
  const std::size_t slash = path.rfind('/');
  const std::string object =
      slash == std::string::npos ? dataset.path : (slash == 0 ? "/" : path.substr(0, slash));
  const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  const auto list = attribute_list(file, object, {name}, [](std::size_t) { return true; });
  if (!list)
    throw DataError(fmt::format("{}: has no list of wavelengths \"{}\"", file.path(), path));
  return {list->values, list->units, path};
}

class BadBands {
 public:
  BadBands(const Hdf5File& file, const Hdf5Dataset& dataset, std::vector<Channel>& channels)
      : file_(file), dataset_(dataset), channels_(channels) {}

  void mark() {
    const auto as_long = [&](std::size_t n) { return n == channels_.size(); };
    const std::string flags = "list_cw_" + lower(detector_of(dataset_)) + "_flags";
    if (const auto good =
            find_list(file_, dataset_,
                      {"bbl", "good_wavelengths", "good_bands", "band_mask", flags}, as_long)) {
      for (std::size_t i = 0; i < channels_.size(); ++i) set_bad(i, good->values[i] == 0);
    }
    mark_listed();
    for (const std::string& object : objects_around(dataset_.path)) mark_windows(object);
    // Bands of no wavelength among others that have one are place holders.
    for (Channel& c : channels_) c.bad = c.bad || c.wavelength_nm <= 0;
  }

 private:
  void set_bad(std::size_t i, bool bad) { channels_[i].bad = channels_[i].bad || bad; }

  void mark_range(double low, double high) {
    for (Channel& c : channels_)
      c.bad = c.bad || (c.wavelength_nm >= low && c.wavelength_nm <= high);
  }

  // A list "bad_bands" holds flags or, if it is as its length and size tell, wavelengths from ..
  // to.
  void mark_listed() {
    const auto list = find_list(file_, dataset_, {"bad_bands", "bands_with_no_data"},
                                [](std::size_t n) { return n > 0; });
    if (!list) return;
    const std::vector<double>& v = list->values;
    const auto is_flag = [](double x) { return x == 0 || x == 1; };
    const auto is_wavelength = [](double x) { return x >= 100; };
    if (v.size() == channels_.size() && std::ranges::all_of(v, is_flag)) {
      for (std::size_t i = 0; i < v.size(); ++i) set_bad(i, v[i] == 1);
    } else if (v.size() % 2 == 0 && std::ranges::all_of(v, is_wavelength)) {
      for (std::size_t i = 0; i < v.size(); i += 2) mark_range(v[i], v[i + 1]);
    } else {
      throw DataError(fmt::format(
          "{}: the list of bad bands {} has {} numbers, expected one 0 or 1 for each of {} bands, "
          "or pairs of wavelengths in nm; name the bad bands yourself with bad_bands, or keep all",
          file_.path(), list->from, v.size(), channels_.size()));
    }
  }

  // NEON: Band_Window_1_Nanometers = [1340, 1445].
  void mark_windows(const std::string& object) {
    for (const std::string& name : file_.attributes(object)) {
      const std::string n = lower(name);
      if (!n.starts_with("band_window_") || !n.ends_with("_nanometers")) continue;
      const std::vector<double> window = file_.numbers(object, name);
      if (window.size() == 2) mark_range(window[0], window[1]);
    }
  }

  const Hdf5File& file_;
  const Hdf5Dataset& dataset_;
  std::vector<Channel>& channels_;
};

// Factors: one for all bands, or one each.
std::vector<double> find_scale(const Hdf5File& file, const Hdf5Dataset& dataset,
                               std::size_t bands) {
  const auto one_or_each = [&](std::size_t n) { return n == 1 || n == bands; };
  for (const char* name : {"scale_factor", "Scale Factor", "reflectance_scale_factor"}) {
    std::vector<double> scale = file.numbers(dataset.path, name);
    if (scale.empty() || !one_or_each(scale.size()) || std::ranges::count(scale, 0) > 0) continue;
    for (double& s : scale) s = std::abs(s) > 1 ? 1 / s : s;
    return scale;
  }
  const auto each = [&](std::size_t n) { return n == bands; };
  const auto list = find_list(
      file, dataset, {"scale_factors", "scale_factor", "gain", "gains", "data_gain_values"}, each);
  return list ? list->values : std::vector<double>{};
}

std::vector<double> find_offset(const Hdf5File& file, const Hdf5Dataset& dataset,
                                std::size_t bands) {
  const std::vector<double> offset = file.numbers(dataset.path, "add_offset");
  if (offset.size() == 1 || offset.size() == bands) return offset;
  const auto list =
      find_list(file, dataset, {"add_offsets", "add_offset", "offsets", "data_offset_values"},
                [&](std::size_t n) { return n == bands; });
  return list ? list->values : std::vector<double>{};
}

}  // namespace

std::vector<double> find_wavelengths(const Hdf5File& file, const Hdf5Dataset& dataset,
                                     const std::string& path) {
  const auto fits = [&](std::size_t length) {
    return std::ranges::find(dataset.shape, static_cast<std::int64_t>(length)) !=
           dataset.shape.end();
  };
  if (path.empty()) {
    auto list = find_list(file, dataset, names_of_wavelengths(dataset), fits);
    return list ? in_nanometres(std::move(*list)) : std::vector<double>{};
  }
  NumberList list = given_list(file, dataset, path);
  if (!fits(list.values.size())) {
    throw DataError(fmt::format("{}{}: {} wavelengths in {}, none of the axes {} is as long",
                                file.path(), dataset.path, list.values.size(), list.from,
                                shape_text(dataset)));
  }
  return in_nanometres(std::move(list));
}

std::vector<Channel> describe_bands(const Hdf5File& file, const Hdf5Dataset& dataset,
                                    const std::vector<double>& wavelengths,
                                    std::int64_t num_channels) {
  const auto count = static_cast<std::size_t>(num_channels);
  if (!wavelengths.empty() && wavelengths.size() != count) {
    throw DataError(fmt::format("{}{}: {} wavelengths for {} channels of {}", file.path(),
                                dataset.path, wavelengths.size(), count, shape_text(dataset)));
  }
  const auto as_long = [&](std::size_t n) { return n == count; };
  std::vector<Channel> channels(count);
  std::vector<Channel> named;
  for (std::size_t c = 0; c < count; ++c) {
    channels[c].name = fmt::format("B{:02d}", c + 1);
    if (wavelengths.empty()) continue;
    channels[c].wavelength_nm = wavelengths[c];
    if (wavelengths[c] > 0) named.push_back(channels[c]);
  }
  if (!named.empty()) {
    if (!name_by_wavelength(named)) {
      throw DataError(
          fmt::format("{}{}: two channels have the same wavelength", file.path(), dataset.path));
    }
    std::size_t next = 0;
    for (Channel& c : channels) {
      if (c.wavelength_nm > 0) c.name = named[next++].name;
    }
  }
  if (auto list = find_list(file, dataset,
                            {"fwhm", "fwhms", "bandwidth", "bandwidths", "fwhm_nm",
                             "list_fwhm_" + lower(detector_of(dataset))},
                            as_long)) {
    const bool in_micrometres = list->units.empty() && std::ranges::max(list->values) < 1;
    const double factor = in_micrometres ? 1000 : nanometres_per(list->units, {});
    for (std::size_t c = 0; c < count; ++c) channels[c].fwhm_nm = list->values[c] * factor;
  }
  BadBands(file, dataset, channels).mark();
  return channels;
}

std::vector<Packing> find_packing(const Hdf5File& file, const Hdf5Dataset& dataset,
                                  std::int64_t num_channels) {
  const auto bands = static_cast<std::size_t>(num_channels);
  Packing common;
  for (const char* name : {"_FillValue", "Data_Ignore_Value", "missing_value", "nodata"}) {
    const auto missing = file.numbers(dataset.path, name);
    common.missing.insert(common.missing.end(), missing.begin(), missing.end());
  }
  const std::string prefix = "L2Scale" + detector_of(dataset);
  const auto least = file.numbers("/", prefix + "Min"), most = file.numbers("/", prefix + "Max");
  if (least.size() == 1 && most.size() == 1) {
    common.scale = (most[0] - least[0]) / 65535;
    common.offset = least[0];
    return {common};
  }
  const std::vector<double> scale = find_scale(file, dataset, bands);
  const std::vector<double> offset = find_offset(file, dataset, bands);
  std::vector<Packing> packing(std::max<std::size_t>({1, scale.size(), offset.size()}), common);
  for (std::size_t i = 0; i < packing.size(); ++i) {
    if (!scale.empty()) packing[i].scale = scale[std::min(i, scale.size() - 1)];
    if (!offset.empty()) packing[i].offset = offset[std::min(i, offset.size() - 1)];
  }
  return packing;
}

}  // namespace trib::io
