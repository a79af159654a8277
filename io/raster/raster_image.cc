#include "io/raster/raster_image.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "io/channel_selection.h"
#include "io/raster/grid_wish.h"
#include "io/raster/raster_bands.h"
#include "io/raster/raster_files.h"
#include "io/raster/raster_header.h"
#include "io/raster/raster_join.h"
#include "ops/base/error.h"
#include "ops/base/parallel.h"

namespace trib::io {
namespace {

constexpr std::int64_t kHeadersPerTask = 16;

class Assembler {
 public:
  explicit Assembler(const RasterOptions& options) : options_(options) {
    check_options();
    prepare_gdal();
    const std::vector<ListedFile> files = list_files(options.files, options.without);
    if (files.empty()) throw ConfigError("no files are given to read rasters from");
    if (options.bands.empty()) {
      for (const ListedFile& file : files) scenes_.push_back({file.path, {file}});
    } else {
      patterns_ = parse_scene_patterns(options.bands);
      scenes_ = group_scenes(files, patterns_);
      find_reference();
    }
    leave_out(options.without);
  }

  RasterImages assemble() {
    wish_ = make_wish(options_, scenes_.front().files[reference_].path);
    std::vector<RasterHeader> first = open_scene(scenes_.front());
    select(first);
    std::vector<RasterImage> images(scenes_.size());
    std::vector<RasterGrid> grids(scenes_.size());
    const auto build = [&](std::size_t i, const std::vector<RasterHeader>& headers) {
      images[i] = make_image(scenes_[i], headers, grids[i]);
    };
    build(0, first);
    first_codings_ = images.front().parts.front().codings;
    all_ = images.front().parts.front().channels;
    parallel_for(std::ssize(scenes_), kHeadersPerTask, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = std::max<std::int64_t>(begin, 1); i < end; ++i) {
        const auto at = static_cast<std::size_t>(i);
        build(at, open_scene(scenes_[at]));
      }
    });
    if (options_.mosaic) {
      images = {join_images(std::move(images), grids, wish_ ? wish_->fixed : std::nullopt)};
    }
    return {std::move(channels_), std::move(images)};
  }

 private:
  void check_options() const {
    const bool places = !options_.crs.empty() || options_.resolution || options_.bounds;
    if (!options_.align_to.empty() && places) {
      throw ConfigError("align_to: takes the whole grid; leave out crs, resolution and bounds");
    }
    if (options_.decimate < 1) throw ConfigError("decimate: must be at least 1");
    if (options_.decimate > 1 && (places || !options_.align_to.empty())) {
      throw ConfigError("decimate: give a resolution in its place to read onto another grid");
    }
    if (options_.resolution && !((*options_.resolution)[0] > 0 && (*options_.resolution)[1] > 0)) {
      throw ConfigError("resolution: must be greater than 0");
    }
    const std::vector<std::string> methods = resampling_methods();
    if (std::find(methods.begin(), methods.end(), options_.resampling) == methods.end()) {
      throw ConfigError(fmt::format("resampling: '{}' is not known", options_.resampling));
    }
  }

  void leave_out(const std::vector<std::string>& paths) {
    if (paths.empty()) return;
    const std::set<std::string> without(paths.begin(), paths.end());
    std::erase_if(scenes_, [&](const SceneFiles& scene) {
      return std::any_of(scene.files.begin(), scene.files.end(),
                         [&](const ListedFile& file) { return without.contains(file.path); });
    });
    if (scenes_.empty()) throw DataError("no file is left to read");
  }

  void find_reference() {
    if (options_.reference_band.empty()) return;
    const auto found = std::find_if(patterns_.begin(), patterns_.end(), [&](const auto& one) {
      return one.band == options_.reference_band;
    });
    if (found == patterns_.end()) {
      throw ConfigError(
          fmt::format("reference_band: there is no band '{}'", options_.reference_band));
    }
    reference_ = static_cast<std::size_t>(found - patterns_.begin());
  }

  RasterHeader read_header(const std::string& path, const std::string& driver) const {
    const bool may_be_decimated = options_.decimate > 1 || !patterns_.empty();
    return read_raster_header(path, driver, wish_, may_be_decimated);
  }

  std::vector<RasterHeader> open_scene(const SceneFiles& scene) const {
    std::vector<RasterHeader> headers;
    headers.reserve(scene.files.size());
    for (const ListedFile& file : scene.files) headers.push_back(read_header(file.path, driver_));
    return headers;
  }

  void select(const std::vector<RasterHeader>& first) {
    driver_ = first.front().driver;
    std::vector<Channel> available;
    if (patterns_.empty()) {
      for (const RasterBand& band : first.front().bands) available.push_back(band.channel);
    } else {
      for (std::size_t i = 0; i < patterns_.size(); ++i) {
        available.push_back(only_band(first[i]).channel);
        available.back().name = patterns_[i].band;
      }
    }
    std::vector<std::int64_t> chosen =
        select_channels(available, options_.channels, first.front().path);
    if (options_.channels.empty() && patterns_.empty()) {
      const auto& bands = first.front().bands;
      std::erase_if(chosen,
                    [&](std::int64_t i) { return bands[static_cast<std::size_t>(i)].is_alpha; });
      if (chosen.empty()) chosen = select_channels(available, {}, first.front().path);
    }
    for (const std::int64_t i : chosen) {
      channels_.push_back(available[static_cast<std::size_t>(i)]);
      chosen_.push_back(static_cast<std::size_t>(i));
    }
  }

  /// Codings of the selected channels, looked for first where the first file has them.
  Codings find_codings(const RasterHeader& header) const {
    Codings codings;
    codings.reserve(channels_.size());
    for (std::size_t c = 0; c < channels_.size(); ++c) {
      const auto named = [&](const RasterBand& band) {
        return band.channel.name == channels_[c].name;
      };
      auto found = header.bands.begin() +
                   static_cast<std::ptrdiff_t>(std::min(chosen_[c], header.bands.size()));
      if (found == header.bands.end() || !named(*found)) {
        found = std::find_if(header.bands.begin(), header.bands.end(), named);
      }
      if (found == header.bands.end()) {
        throw DataError(fmt::format("{}: has no channel '{}' among its {}, but {} has", header.path,
                                    channels_[c].name, header.bands.size(),
                                    scenes_.front().files.front().path));
      }
      codings.push_back(found->coding);
    }
    return codings;
  }

  /// As the options want it.
  BandCoding adjust(BandCoding coding) const {
    if (options_.nodata) {
      const auto nodata = static_cast<float>(*options_.nodata);
      coding.nodata = std::isnan(nodata) ? std::nullopt : std::optional(nodata);
    }
    if (!options_.apply_scale) {
      coding.scale = 1;
      coding.offset = 0;
    }
    return coding;
  }

  /// The grid of a scene.
  RasterGrid grid_of(const RasterHeader& reference) const {
    if (wish_) {
      const std::string& crs = wish_->crs_wkt.empty() ? reference.grid.geo.crs_wkt : wish_->crs_wkt;
      return cover(*reference.placement, options_.mosaic ? lattice_of(*wish_) : *wish_, crs);
    }
    RasterGrid grid = reference.grid;
    if (options_.decimate > 1) {
      const std::int64_t step = options_.decimate;
      grid.extent = {grid.extent.height / step, grid.extent.width / step};
      if (grid.extent.height == 0 || grid.extent.width == 0) {
        throw ConfigError(fmt::format("decimate: {} leaves nothing of {} with {} x {} pixels", step,
                                      reference.path, reference.grid.extent.height,
                                      reference.grid.extent.width));
      }
      for (const std::size_t i : {1U, 2U, 4U, 5U}) {
        grid.geo.transform[i] *= static_cast<double>(step);
      }
    }
    return grid;
  }

  RasterImage make_image(const SceneFiles& scene, const std::vector<RasterHeader>& headers,
                         RasterGrid& grid) const {
    const RasterHeader& reference = headers[reference_];
    grid = grid_of(reference);
    RasterImage image;
    image.extent = grid.extent;
    image.label = scene.files[reference_].label;
    if (wish_ || reference.has_place || (!reference.has_points && !grid.geo.crs_wkt.empty())) {
      image.geo = std::make_shared<const GeoReference>(grid.geo);
    }
    const auto add = [&](const RasterHeader& header, Codings codings, Positions positions) {
      RasterPart part;
      part.path = header.path;
      part.driver = header.driver;
      part.area = {0, 0, grid.extent.height, grid.extent.width};
      for (BandCoding& coding : codings) coding = adjust(coding);
      part.codings = first_codings_ != nullptr && codings == *first_codings_
                         ? first_codings_
                         : std::make_shared<const Codings>(std::move(codings));
      part.channels = all_ != nullptr && positions == *all_
                          ? all_
                          : std::make_shared<const Positions>(std::move(positions));
      part.warp = warp_onto(grid, header, reference, wish_, options_.decimate, options_.resampling);
      part.tiff = header.tiff;
      image.parts.push_back(std::move(part));
    };
    if (patterns_.empty()) {
      Positions all(channels_.size());
      std::iota(all.begin(), all.end(), std::size_t{0});
      add(reference, find_codings(reference), std::move(all));
    } else {
      // The reference comes first: the image is called by its file.
      for (std::size_t c = 0; c < chosen_.size(); ++c) {
        const RasterHeader& header = headers[chosen_[c]];
        add(header, {only_band(header).coding}, {c});
        if (chosen_[c] == reference_) std::swap(image.parts.front(), image.parts.back());
      }
    }
    add_classes(image, grid, reference);
    return image;
  }

  /// The raster of classes of an image, if there are such.
  void add_classes(RasterImage& image, const RasterGrid& grid,
                   const RasterHeader& reference) const {
    const std::string& from = options_.label_from;
    if (from.empty() || from == "folder" || from.ends_with(".csv")) return;
    std::string path = from;
    const std::size_t star = path.find('*');
    if (star != std::string::npos) {
      path.replace(star, 1, std::filesystem::path(reference.path).stem().string());
    }
    const RasterHeader header = read_header(path, "");
    auto part = std::make_shared<RasterPart>();
    part->path = header.path;
    part->driver = header.driver;
    part->area = {0, 0, grid.extent.height, grid.extent.width};
    part->codings = std::make_shared<const Codings>(Codings{only_band(header).coding});
    part->channels = std::make_shared<const Positions>(Positions{0});
    part->warp = warp_onto(grid, header, reference, wish_, options_.decimate, "nearest");
    part->tiff = header.tiff;
    image.classes = std::move(part);
  }

  const RasterOptions& options_;
  std::vector<ScenePattern> patterns_;
  std::vector<SceneFiles> scenes_;
  std::size_t reference_ = 0;
  std::optional<GridWish> wish_;
  std::string driver_;
  std::vector<Channel> channels_;
  Positions chosen_;  // of the channels among the bands of the first file, or among the patterns
  std::shared_ptr<const Codings> first_codings_;
  std::shared_ptr<const Positions> all_;
};

}  // namespace

RasterImages assemble_images(const RasterOptions& options) {
  return Assembler(options).assemble();
}

std::unique_ptr<GdalDataset> open_part(const RasterPart& part) {
  if (part.warp == nullptr) return std::make_unique<GdalDataset>(part.path, part.driver);
  return open_warped(part.path, part.driver, *part.warp, *part.codings);
}

std::int64_t read_part(const GdalDataset& dataset, const RasterPart& part,
                       std::span<const std::string> names, const Window& window,
                       const PixelTarget& target) {
  if (part.warp == nullptr) return read_pixels(dataset, *part.codings, names, window, target);
  return read_pixels(dataset, warped_codings(*part.codings), names, window, target);
}

}  // namespace trib::io
