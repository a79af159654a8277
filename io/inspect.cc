#include "io/inspect.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>

#include <cpl_string.h>
#include <cpl_vsi.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hdf5.h>

#include "io/chunks/hdf5_array.h"
#include "io/cube/cube_file.h"
#include "io/file_kind.h"
#include "io/grid/grib_file.h"
#include "io/grid/grid_file.h"
#include "io/grid/grid_series.h"
#include "io/image_source.h"
#include "io/opening_file.h"
#include "io/raster/raster_source.h"
#include "io/raster/raw_file.h"
#include "io/typical_reads.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string list(const std::vector<std::int64_t>& extents) {
  return extents.empty() ? "" : fmt::format("[{}]", fmt::join(extents, ", "));
}

std::string size_text(const std::string& path) {
  return fmt::format("{} bytes", std::filesystem::file_size(path));
}

std::string packing_text(const Packing& packing) {
  std::vector<std::string> notes;
  if (packing.scale != 1 || packing.offset != 0) {
    notes.push_back(fmt::format("value = stored * {:g} + {:g}", packing.scale, packing.offset));
  }
  if (!packing.missing.empty()) {
    std::vector<double> distinct = packing.missing;
    distinct.erase(std::ranges::unique(distinct).begin(), distinct.end());
    notes.push_back(fmt::format("missing {:g}", fmt::join(distinct, " ")));
  }
  return fmt::format("{}", fmt::join(notes, ", "));
}

// Whether several threads can decode a dataset at once.
bool decodes_in_parallel(const std::string& path, const std::string& dataset) {
  if (file_kind(path) != FileKind::hdf5) return false;
  const auto bytes = std::make_shared<const StoredFile>(path);
  const Hdf5Session session;
  const Hdf5Handle file = open_hdf5_file(path);
  if (!file.valid()) return false;
  Hdf5Handle set(H5Dopen2(file.id(), dataset.c_str(), H5P_DEFAULT), H5Dclose);
  return set.valid() && Hdf5Array::take(bytes, dataset, std::move(set)) != nullptr;
}

// "1 h" if all steps are the same, else the shortest and the longest.
std::string step_text(const std::vector<double>& times) {
  double least = INFINITY, most = 0;
  for (std::size_t i = 1; i < times.size(); ++i) {
    least = std::min(least, times[i] - times[i - 1]);
    most = std::max(most, times[i] - times[i - 1]);
  }
  return least == most ? fmt::format("{:g} h", least / 3600)
                       : fmt::format("{:g} to {:g} h", least / 3600, most / 3600);
}

// "levels 850 500 hPa", "levels l136 l137".
std::string levels_text(const std::vector<GridLevel>& levels) {
  std::vector<std::string_view> labels;
  for (const GridLevel& level : levels) labels.push_back(level.label);
  return fmt::format("levels {}{}", fmt::join(labels, " "),
                     std::isnan(levels[0].hpa) ? "" : " hPa");
}

void add_times(const GridHeader& header, FileReport& report) {
  const auto count = header.times.size();
  switch (header.time_kind) {
    case TimeKind::none:
      report.facts.emplace_back("times", "none");
      return;
    case TimeKind::climatology:
      report.facts.emplace_back("times", fmt::format("climatology of {}", count));
      return;
    case TimeKind::calendar:
      break;
  }
  if (count == 0) {
    report.facts.emplace_back("times", "an empty axis");
    return;
  }
  std::string text = format_time(header.times.front(), header.calendar);
  if (count > 1) {
    text = fmt::format("{} from {} to {}, every {}", count, text,
                       format_time(header.times.back(), header.calendar), step_text(header.times));
  }
  if (header.calendar != Calendar::gregorian) {
    text += fmt::format(", calendar {}", name_of(header.calendar));
  }
  report.facts.emplace_back("times", text);
}

FieldStorage storage_of(const NetcdfFile& file, const GridVariable& v) {
  FieldStorage storage;
  storage.name = v.name;
  storage.element_bytes = static_cast<std::int64_t>(size_of(*v.variable.dtype));
  const std::vector<std::int64_t> chunks = file.chunks(v.variable);
  for (std::size_t a = 0; a < v.roles.size(); ++a) {
    const auto d = static_cast<std::size_t>(v.variable.dimensions[a]);
    AxisRead axis{file.dimensions()[d].length, chunks.empty() ? 1 : chunks[a], 1};
    switch (v.roles[a]) {
      case AxisRole::time:
        storage.time = axis;
        break;
      case AxisRole::level:
        axis.wanted = axis.extent;
        storage.level = axis;
        break;
      case AxisRole::latitude:
        axis.wanted = axis.extent;
        storage.row = axis;
        break;
      case AxisRole::longitude:
        axis.wanted = axis.extent;
        storage.column = axis;
        break;
      default:
        break;
    }
  }
  storage.in_parallel = decodes_in_parallel(file.path(), v.variable.name);
  return storage;
}

// Axes, times and what is left out.
void add_header(const GridHeader& header, FileReport& report) {
  const auto axis = [&](const char* name, const std::vector<double>& values, bool reversed) {
    report.facts.emplace_back(
        name, fmt::format("{} from {:g} to {:g}{}", values.size(), values.front(), values.back(),
                          reversed ? ", stored descending" : ""));
  };
  axis("latitudes", header.grid.latitudes, header.reversed_latitude);
  axis("longitudes", header.grid.longitudes, header.reversed_longitude);
  add_times(header, report);
  if (header.num_members > 1) {
    report.facts.emplace_back("ensemble members", fmt::format("{}", header.num_members));
  }
  if (header.num_versions > 1) {
    report.facts.emplace_back("versions",
                              fmt::format("{} (expver), merged when read", header.num_versions));
  }
  for (const std::string& reason : header.left_out) {
    report.facts.emplace_back("left out", reason);
  }
}

void add_channels(const std::vector<GridHeader>& headers, FileReport& report) {
  const GridSeries series = join_grid_files(headers, {});
  if (!series.gaps.empty()) report.facts.emplace_back("gaps", series.gaps);
  report.channels = series.channels;
}

void add_grid(const NetcdfFile& file, FileReport& report) {
  const GridHeader header = read_grid_header(file);
  add_header(header, report);
  ReadCost image;
  for (const GridVariable& v : header.variables) {
    const ImageBytes bytes = image_bytes(file, v);
    image.wanted += static_cast<double>(bytes.of_values);
    image.decoded += static_cast<double>(bytes.in_chunks > 0 ? bytes.in_chunks : bytes.of_values);
    auto& variable =
        *std::ranges::find(report.variables, v.variable.name, &FileReport::Variable::name);
    std::vector<std::string> notes{v.name};
    if (!v.units.empty()) notes.push_back(v.units);
    if (!v.levels.empty()) notes.push_back(levels_text(v.levels));
    if (const std::string packing = packing_text(v.packing); !packing.empty()) {
      notes.push_back(packing);
    }
    variable.note = fmt::format("{}", fmt::join(notes, ", "));
  }
  report.facts.emplace_back("read amplification of one image", amplification_text(image));
  for (const GridVariable& v : header.variables) add_typical_reads(storage_of(file, v), report);
  add_channels({header}, report);
}

// The fields as the reader of grids puts them together; without it as GDAL lists them.
FileReport inspect_grib(const std::string& path) {
  FileReport report;
  try {
    const std::vector<GridHeader> headers = read_grib_headers(path);
    report.format = "GRIB";
    report.facts.emplace_back("size", size_text(path));
    for (const GridHeader& header : headers) {
      add_header(header, report);
      for (const GridVariable& v : header.variables) {
        report.variables.push_back(
            {v.variable.name, std::string(name_of(*v.variable.dtype)),
             fmt::format("[level {}, time {}, member {}, {}, {}]",
                         std::max<std::size_t>(1, v.levels.size()), header.times.size(),
                         header.num_members, header.grid.latitudes.size(),
                         header.grid.longitudes.size()),
             "", "",
             fmt::format("{}, {}{}", v.name, v.units,
                         v.levels.empty() ? "" : ", " + levels_text(v.levels))});
      }
    }
    add_channels(headers, report);
  } catch (const DataError& e) {
    if (std::optional<FileReport> raster = inspect_raster(path)) report = std::move(*raster);
    report.format = "GRIB";
    report.facts.emplace_back("not a grid", e.what());
  }
  return report;
}

FileReport inspect_netcdf(const std::string& path) {
  const NetcdfFile file(path);
  FileReport report;
  report.format = file.format();
  report.facts.emplace_back("size", size_text(path));
  for (const NetcdfVariable& v : file.variables()) {
    std::vector<std::string> shape;
    for (const int d : v.dimensions) {
      const NetcdfDimension& dimension = file.dimensions()[static_cast<std::size_t>(d)];
      shape.push_back(fmt::format("{} {}", dimension.name, dimension.length));
    }
    report.variables.push_back({v.name, std::string(v.dtype ? name_of(*v.dtype) : "text"),
                                fmt::format("[{}]", fmt::join(shape, ", ")),
                                v.dimensions.empty() ? "" : list(file.chunks(v)), file.filters(v),
                                file.text(v, "units")});
  }
  try {
    add_grid(file, report);
  } catch (const DataError& e) {
    report.facts.emplace_back("not a grid", e.what());
  }
  return report;
}

PixelStorage storage_of(const CubeHeader& cube, const Extent& window) {
  const Hdf5Dataset& d = cube.dataset;
  const auto axis = [&](std::size_t a, std::int64_t wanted) {
    return AxisRead{d.shape[a], d.chunks.empty() ? 1 : d.chunks[a], std::min(wanted, d.shape[a])};
  };
  const CubeAxes& axes = cube.axes;
  return {static_cast<std::int64_t>(size_of(*d.dtype)), axis(axes.c, d.shape[axes.c]),
          axis(axes.y, window.height), axis(axes.x, window.width),
          decodes_in_parallel(cube.path, d.path)};
}

void add_cube(const Hdf5File& file, const Extent& window, FileReport& report) {
  const CubeHeader cube = read_cube_header(file, {});
  const auto fact = [&](const char* name, std::string text) {
    report.facts.emplace_back(name, std::move(text));
  };
  fact("cube", fmt::format("{}: {} rows x {} columns x {} channels", cube.dataset.path,
                           cube.height(), cube.width(), cube.channels.size()));
  const auto wavelength = [](const Channel& a, const Channel& b) {
    return a.wavelength_nm < b.wavelength_nm;
  };
  const auto [low, high] = std::ranges::minmax_element(cube.channels, wavelength);
  if (!std::isnan(low->wavelength_nm)) {
    fact("wavelengths", fmt::format("{:g} to {:g} nm", low->wavelength_nm, high->wavelength_nm));
  }
  if (const auto bad = std::ranges::count_if(cube.channels, &Channel::bad); bad > 0) {
    fact("bad bands", fmt::format("{}, dropped when read unless bad_bands is keep", bad));
  }
  if (cube.geo != nullptr) {
    fact("coordinate system", cube.geo->crs_wkt);
    fact("geotransform", fmt::format("{}", fmt::join(cube.geo->transform, ", ")));
  }
  const PixelStorage whole = storage_of(cube, {cube.height(), cube.width()});
  const std::array<AxisRead, 3> axes{whole.channel, whole.row, whole.column};
  fact("read amplification of the whole", amplification_text(read_cost(axes, whole.element_bytes)));
  add_typical_reads(storage_of(cube, window), report);
  std::ranges::find(report.variables, cube.dataset.path, &FileReport::Variable::name)->note =
      cube.packing.size() == 1
          ? packing_text(cube.packing[0])
          : "each channel packed its own way, the first as " + packing_text(cube.packing[0]);
  report.channels = cube.channels;
}

// Whether an HDF5 file was written by netCDF: its dimensions are HDF5 dimension scales.
bool is_netcdf4(const Hdf5File& file) {
  if (!file.text("/", "_NCProperties").empty()) return true;
  return std::ranges::any_of(file.datasets(), [&](const Hdf5Dataset& d) {
    return file.text(d.path, "CLASS") == "DIMENSION_SCALE";
  });
}

FileReport inspect_hdf5(const Hdf5File& file, const Extent& window) {
  FileReport report;
  report.format = "HDF5";
  report.facts.emplace_back("size", size_text(file.path()));
  for (const Hdf5Dataset& d : file.datasets()) {
    report.variables.push_back({d.path, d.stored_type,
                                fmt::format("[{}]", fmt::join(d.shape, ", ")), list(d.chunks),
                                d.filters, file.text(d.path, "units")});
  }
  try {
    add_cube(file, window, report);
  } catch (const Error& e) {
    report.facts.emplace_back("not a cube", e.what());
  }
  return report;
}

FileReport inspect_hdf5_family(const std::string& path, const Extent& window) {
  {
    const Hdf5File file(path);
    if (!is_netcdf4(file)) return inspect_hdf5(file, window);
  }
  return inspect_netcdf(path);
}

FileReport inspect_zip(const std::string& path) {
  // Braces let GDAL look into archives of any name.
  const std::string inside = "/vsizip/{" + std::filesystem::absolute(path).string() + "}";
  const CPLStringList entries(VSIReadDirRecursive(inside.c_str()), TRUE);
  std::map<std::string, int> kinds;
  std::string first;
  for (int i = 0; i < entries.size(); ++i) {
    const std::string name = entries[i];
    if (name.ends_with('/')) continue;
    ++kinds[std::filesystem::path(name).extension().string()];
    if (first.empty()) first = name;
  }
  FileReport report;
  report.format = "ZIP archive";
  report.facts.emplace_back("size", size_text(path));
  for (const auto& [extension, count] : kinds) {
    report.facts.emplace_back("files", fmt::format("{} {}", count, extension));
  }
  if (kinds.contains(".nc")) {
    report.facts.emplace_back("note",
                              "NetCDF files must be unzipped before they can be read: "
                              "unzip '" +
                                  path + "' -d FOLDER");
  } else if (!first.empty()) {
    report.facts.emplace_back("read as", inside + "/" + first);
  }
  return report;
}

}  // namespace

FileReport inspect_file(const std::string& path) {
  return inspect_file(path, {128, 128});
}

FileReport inspect_file(const std::string& path, const Extent& window) {
  const OpeningFile opening(path);
  // Names that only GDAL understands: inside archives, parts of files.
  if (std::filesystem::is_regular_file(path)) {
    switch (file_kind(path)) {
      case FileKind::netcdf_classic:
        return inspect_netcdf(path);
      case FileKind::zip:
        return inspect_zip(path);
      case FileKind::empty:
        throw DataError(fmt::format("{}: is an empty file", path));
      case FileKind::hdf5:
        return inspect_hdf5_family(path, window);
      case FileKind::grib:
        return inspect_grib(path);
      case FileKind::other:
        break;
    }
  }
  std::optional<FileReport> report = inspect_raster(data_file_of(path), window);
  if (!report) {
    throw DataError(
        fmt::format("{}: is of no format known here (NetCDF, HDF5, ZIP and the rasters "
                    "of GDAL)",
                    path));
  }
  return std::move(*report);
}

}  // namespace trib::io
