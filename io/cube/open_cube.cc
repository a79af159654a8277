#include <algorithm>
#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "io/cube/cube_channels.h"
#include "io/cube/cube_file.h"
#include "io/cube/cube_source.h"
#include "io/cube/dead_bands.h"
#include "io/cube/hdf5_cubes.h"
#include "io/cube/spectral_plan.h"
#include "io/cube/spectral_source.h"
#include "io/file_kind.h"
#include "io/raster/raster_bands.h"
#include "io/raster/raster_source.h"
#include "io/raster/raw_file.h"
#include "io/wavelengths.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

bool is_hdf5(const std::string& path) {
  // Names that only GDAL understands (inside archives, parts of files) are no files.
  return std::filesystem::is_regular_file(path) && file_kind(path) == FileKind::hdf5;
}

// The part of a file that GDAL opens: the subdataset called for, if one is.
std::string part_of(const std::string& path, const std::string& wanted) {
  if (wanted.empty()) return path;
  const std::vector<std::string> parts = list_subdatasets(GdalDataset(path));
  std::vector<std::string> found;
  for (const std::string& part : parts) {
    const bool whole_name =
        part.size() > wanted.size() && part.ends_with(wanted) &&
        std::string(":/").find(part[part.size() - wanted.size() - 1]) != std::string::npos;
    if (whole_name) found.push_back(part);
  }
  if (found.size() == 1) return found.front();
  if (parts.empty()) {
    throw ConfigError(
        fmt::format("{}: dataset \"{}\" is wanted, but the file has no parts to "
                    "choose from",
                    path, wanted));
  }
  throw ConfigError(fmt::format("{}: dataset \"{}\" names {} of its parts: {}", path, wanted,
                                found.empty() ? "none" : "several",
                                fmt::join(found.empty() ? parts : found, ", ")));
}

class CubeOpener {
 public:
  explicit CubeOpener(const CubeOptions& options) : options_(options) {
    files_ = expand_files(options.files);
    if (files_.empty()) throw ConfigError("cube: no files given");
    hdf5_ = is_hdf5(files_.front());
    for (const std::string& file : files_) {
      if (is_hdf5(file) == hdf5_) continue;
      throw DataError(
          fmt::format("{} is {}HDF5 and {} is {}: cubes of one node must be of one "
                      "kind",
                      files_.front(), hdf5_ ? "" : "not ", file, hdf5_ ? "not" : "HDF5"));
    }
    if (!hdf5_) prepare_gdal_files();
  }

  std::unique_ptr<ImageSource> open() {
    const std::vector<Channel> bands = describe();
    const std::vector<SpectralChannel> plan = make_plan(bands);
    // Bands taken as they are, each once, are read in the order wanted; others in the file's.
    const bool selection =
        std::ranges::all_of(plan, [](const SpectralChannel& c) { return c.bands.size() == 1; }) &&
        options_.bin == 1 && targets_.empty();
    std::vector<std::int64_t> needed;
    for (const SpectralChannel& c : plan)
      needed.insert(needed.end(), c.bands.begin(), c.bands.end());
    if (!selection) {
      std::ranges::sort(needed);
      needed.erase(std::ranges::unique(needed).begin(), needed.end());
    }
    std::map<std::int64_t, std::int64_t> position;
    for (const std::int64_t b : needed) position.emplace(b, std::ssize(position));
    std::vector<SpectralChannel> mixed = plan;
    for (SpectralChannel& c : mixed) {
      for (std::int64_t& b : c.bands) b = position.at(b);
    }
    std::unique_ptr<ImageSource> source = open_bands(needed, bands);
    if (hdf5_ && selection) return source;
    return mix_bands(std::move(source), std::move(mixed), hdf5_ ? 1 : options_.scale.value_or(1));
  }

 private:
  void prepare_gdal_files() {
    const auto refuse = [&](bool given, const char* option) {
      if (given) {
        throw ConfigError(
            fmt::format("{}: {} is for HDF5 files, and this is none", files_.front(), option));
      }
    };
    refuse(options_.axes != "auto", "axes");
    refuse(!options_.wavelengths.empty(), "wavelengths");
    refuse(!options_.labels.empty(), "labels");
    for (const std::string& file : files_) {
      if (!std::filesystem::is_regular_file(file)) continue;
      const FileKind kind = file_kind(file);
      if (kind == FileKind::empty || kind == FileKind::zip) {
        throw DataError(
            fmt::format("{}: is {}, expected a hyperspectral cube", file, io::describe(kind)));
      }
      if (kind == FileKind::netcdf_classic) check_netcdf_file(file);
    }
    for (std::string& file : files_) file = part_of(data_file_of(file), options_.dataset);
  }

  // The bands of the first file, with those marked bad that are not to be used.
  std::vector<Channel> describe() {
    const std::string& file = files_.front();
    std::vector<Channel> bands;
    bool may_be_missing = true;
    if (hdf5_) {
      const CubeHeader header = read_cube_header(Hdf5File(file), options_);
      bands = header.channels;
      const DType dtype = *header.dataset.dtype;
      may_be_missing =
          dtype == DType::f32 || dtype == DType::f64 ||
          std::ranges::any_of(header.packing, [](const Packing& p) { return !p.missing.empty(); });
    } else {
      bands = open_raster(raster_options({file}))->channels();
      for (const Channel& band : bands) raster_names_.push_back(band.name);
      name_by_wavelength(bands);
    }
    const auto& wishes = options_.bad_bands;
    if (may_be_missing && std::ranges::find(wishes, "drop") != wishes.end()) mark_dead(bands);
    mark_bad_bands(bands, wishes, file);
    return bands;
  }

  void mark_dead(std::vector<Channel>& bands) const {
    CubeOptions whole = options_;
    whole.tile.reset();
    whole.labels.clear();
    const std::unique_ptr<ImageSource> first = hdf5_
                                                   ? open_hdf5_cubes({files_.front()}, whole, bands)
                                                   : open_raster(raster_options({files_.front()}));
    try {
      for (const std::int64_t b : find_dead_bands(*first)) {
        bands[static_cast<std::size_t>(b)].bad = true;
      }
    } catch (const DataError&) {
      // Damage is told of when the damaged part is read for use.
    }
  }

  std::vector<SpectralChannel> make_plan(const std::vector<Channel>& bands) {
    const std::string& file = files_.front();
    const std::vector<std::int64_t> selected = select_bands(bands, options_.channels, file);
    const bool resample = !options_.centres.empty() || !options_.sensor.empty();
    if (options_.bin < 1)
      throw ConfigError(fmt::format("bin: {}, expected at least 1", options_.bin));
    if (!options_.centres.empty() && !options_.sensor.empty()) {
      throw ConfigError("centres and sensor both say what to resample to, give one of them");
    }
    if (resample && options_.bin > 1) {
      throw ConfigError("bin goes with bands as they are, not with centres or sensor");
    }
    if (options_.centres.empty() && !options_.widths.empty()) {
      throw ConfigError("widths are given without centres");
    }
    if (resample) {
      targets_ = options_.sensor.empty() ? spectral_targets(options_.centres, options_.widths)
                                         : read_sensor_table(options_.sensor);
      return resample_bands(bands, selected, targets_, file);
    }
    return options_.bin > 1 ? bin_bands(bands, selected, options_.bin, file)
                            : take_bands(bands, selected, file);
  }

  RasterOptions raster_options(const std::vector<std::string>& files) const {
    RasterOptions raster;
    raster.files = files;
    raster.nodata = options_.nodata;
    raster.apply_scale = !options_.scale.has_value();
    return raster;
  }

  std::unique_ptr<ImageSource> open_bands(const std::vector<std::int64_t>& needed,
                                          const std::vector<Channel>& bands) const {
    if (hdf5_) {
      std::vector<Channel> wanted;
      for (const std::int64_t b : needed) wanted.push_back(bands[static_cast<std::size_t>(b)]);
      return open_hdf5_cubes(files_, options_, wanted);
    }
    RasterOptions raster = raster_options(files_);
    raster.tile = options_.tile;
    raster.keep_partial_tiles = options_.keep_partial_tiles;
    for (const std::int64_t b : needed) {
      raster.channels.push_back(raster_names_[static_cast<std::size_t>(b)]);
    }
    return open_raster(raster);
  }

  const CubeOptions& options_;
  std::vector<std::string> files_;
  bool hdf5_ = true;
  std::vector<std::string> raster_names_;  // what GDAL calls the bands
  std::vector<SpectralTarget> targets_;
};

}  // namespace

std::unique_ptr<ImageSource> open_cube(const CubeOptions& options) {
  return CubeOpener(options).open();
}

}  // namespace trib::io
