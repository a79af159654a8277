#include "io/cube/cube_dataset.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "io/text.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::int64_t num_elements(const Hdf5Dataset& d) {
  return std::accumulate(d.shape.begin(), d.shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string list(const std::vector<const Hdf5Dataset*>& datasets) {
  std::vector<std::string> texts;
  for (const Hdf5Dataset* d : datasets) {
    texts.push_back(fmt::format("{} {} {}", d->path, d->stored_type, shape_text(*d)));
  }
  return texts.empty() ? "no datasets" : fmt::format("{}", fmt::join(texts, "; "));
}

bool has_axes_of_a_cube(const Hdf5Dataset& d) {
  return d.shape.size() == 3 || (d.shape.size() == 4 && std::ranges::count(d.shape, 1) > 0);
}

// Positions in the shape of the three axes of a cube: all but the first of length 1 of four.
std::vector<std::size_t> axes_of_cube(const Hdf5Dataset& d) {
  std::vector<std::size_t> axes(d.shape.size());
  std::iota(axes.begin(), axes.end(), std::size_t{0});
  if (axes.size() == 4)
    axes.erase(axes.begin() + (std::ranges::find(d.shape, 1) - d.shape.begin()));
  return axes;
}

// Whether two cubes show the same pixels in the bands of two detectors (VNIR and SWIR).
bool may_be_another_detector(const Hdf5Dataset& larger, const Hdf5Dataset& smaller) {
  if (larger.stored_type != smaller.stored_type || larger.shape.size() != smaller.shape.size()) {
    return false;
  }
  std::ptrdiff_t differing = 0;
  for (std::size_t a = 0; a < larger.shape.size(); ++a) {
    if (larger.shape[a] != smaller.shape[a]) ++differing;
  }
  return differing <= 1 && num_elements(smaller) * 4 >= num_elements(larger);
}

const Hdf5Dataset& largest_cube(const Hdf5File& file) {
  std::vector<const Hdf5Dataset*> cubes;
  for (const Hdf5Dataset& d : file.datasets()) {
    if (d.dtype && has_axes_of_a_cube(d) && num_elements(d) > 0) cubes.push_back(&d);
  }
  if (cubes.empty()) {
    throw DataError(fmt::format("{}: has no dataset of numbers with 3 axes; it has {}", file.path(),
                                list_datasets(file)));
  }
  const auto larger = [](const Hdf5Dataset* a, const Hdf5Dataset* b) {
    return num_elements(*a) > num_elements(*b);
  };
  std::ranges::stable_sort(cubes, larger);
  for (std::size_t i = 1; i < cubes.size(); ++i) {
    if (larger(cubes[0], cubes[i]) && !may_be_another_detector(*cubes[0], *cubes[i])) continue;
    throw ConfigError(
        fmt::format("{}: several datasets may be the cube, choose one with dataset: {}",
                    file.path(), list(cubes)));
  }
  return *cubes.front();
}

// What a file calls an axis as a letter of "yxc", 0 if it is none of them.
char axis_letter(const std::string& label) {
  static const std::set<std::string> kRows{
      "y",        "row",      "rows",      "line",   "lines",           "lat",
      "latitude", "northing", "downtrack", "nlines", "number_of_lines", "along_track",
      "scan",     "scans",    "nscans",    "nrows",  "number_of_scans"};
  static const std::set<std::string> kColumns{
      "x",          "column",          "columns",      "col",       "cols",
      "sample",     "samples",         "lon",          "longitude", "easting",
      "pixel",      "pixels_per_line", "across_track", "pixels",    "npixels",
      "crosstrack", "nsamples",        "ncols",        "ccd_pixels"};
  static const std::set<std::string> kChannels{"c",      "channel",  "channels", "band",
                                               "lambda", "spectral", "spectrum"};
  const std::string name = lower(label);
  if (kRows.contains(name)) return 'y';
  if (kColumns.contains(name)) return 'x';
  if (kChannels.contains(name) || name.ends_with("bands") || name.starts_with("wavelength")) {
    return 'c';
  }
  return 0;
}

bool is_permutation(std::string axes) {
  std::ranges::sort(axes);
  return axes == "cxy";
}

// "y,x,band" of an attribute or of dimension scales as "yxc", empty if the file says nothing.
std::string labelled_axes(const Hdf5File& file, const Hdf5Dataset& dataset) {
  const auto letters = [&](const std::vector<std::string>& labels) {
    std::string axes;
    for (const std::string& label : labels) {
      if (const char letter = axis_letter(label); letter != 0) axes += letter;
    }
    return is_permutation(axes) ? axes : "";
  };
  std::vector<std::string> labels = file.texts(dataset.path, "dimension_labels");
  if (labels.size() == 1) labels = split_at_commas(labels.front());
  const std::string axes = letters(labels);
  return axes.empty() ? letters(file.scale_names(dataset)) : axes;
}

std::string axes_by_length(const Hdf5File& file, const Hdf5Dataset& dataset,
                           std::size_t num_wavelengths) {
  const std::vector<std::size_t> axes = axes_of_cube(dataset);
  const auto is_as_long = [&](std::size_t axis) {
    return dataset.shape[axis] == static_cast<std::int64_t>(num_wavelengths);
  };
  if (num_wavelengths == 0 || std::ranges::count_if(axes, is_as_long) != 1) {
    throw ConfigError(fmt::format(
        "{}{}: cannot tell which axis of {} is the channel ({}); give axes, for example \"yxc\"",
        file.path(), dataset.path, shape_text(dataset),
        num_wavelengths == 0 ? "there is no list of wavelengths"
                             : fmt::format("there are {} wavelengths", num_wavelengths)));
  }
  const auto at = std::ranges::find_if(axes, is_as_long) - axes.begin();
  // MATLAB turns the order of all axes round.
  if (!file.text(dataset.path, "MATLAB_class").empty()) {
    return at == 0 ? "cxy" : at == 1 ? "xcy" : "xyc";
  }
  return at == 0 ? "cyx" : at == 1 ? "ycx" : "yxc";
}

}  // namespace

std::string shape_text(const Hdf5Dataset& dataset) {
  return fmt::format("[{}]", fmt::join(dataset.shape, ", "));
}

std::string list_datasets(const Hdf5File& file) {
  std::vector<const Hdf5Dataset*> all;
  for (const Hdf5Dataset& d : file.datasets()) all.push_back(&d);
  return list(all);
}

const Hdf5Dataset& find_cube_dataset(const Hdf5File& file, const std::string& wanted) {
  if (wanted.empty()) return largest_cube(file);
  const Hdf5Dataset* found = file.find(wanted);
  if (found == nullptr) {
    std::vector<const Hdf5Dataset*> named;
    for (const Hdf5Dataset& d : file.datasets()) {
      if (d.name() == wanted) named.push_back(&d);
    }
    if (named.empty()) {
      throw DataError(fmt::format("{}: has no dataset \"{}\"; it has {}", file.path(), wanted,
                                  list_datasets(file)));
    }
    if (named.size() > 1) {
      throw ConfigError(fmt::format("{}: several datasets are called \"{}\", give the path: {}",
                                    file.path(), wanted, list(named)));
    }
    found = named.front();
  }
  if (!has_axes_of_a_cube(*found)) {
    throw DataError(fmt::format("{}{} has {} axes {}, expected 3 (y, x, channel)", file.path(),
                                found->path, found->shape.size(), shape_text(*found)));
  }
  if (!found->dtype) {
    throw DataError(fmt::format("{}{} holds {}, expected numbers", file.path(), found->path,
                                found->stored_type));
  }
  if (num_elements(*found) == 0) {
    throw DataError(fmt::format("{}{} {} is empty", file.path(), found->path, shape_text(*found)));
  }
  return *found;
}

CubeAxes find_cube_axes(const Hdf5File& file, const Hdf5Dataset& dataset, const std::string& axes,
                        std::size_t num_wavelengths) {
  std::string letters = axes;
  if (axes != "auto") {
    if (!is_permutation(axes)) {
      throw ConfigError(
          fmt::format("axes \"{}\", expected \"auto\" or a permutation of \"yxc\"", axes));
    }
  } else {
    letters = labelled_axes(file, dataset);
    if (letters.empty()) letters = axes_by_length(file, dataset, num_wavelengths);
  }
  const std::vector<std::size_t> positions = axes_of_cube(dataset);
  return {positions[letters.find('c')], positions[letters.find('y')], positions[letters.find('x')]};
}

}  // namespace trib::io
