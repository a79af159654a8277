#include "io/raster/raster_image.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <gdal_priv.h>
#include <ogr_spatialref.h>

#include "io/channel_selection.h"
#include "io/raster/raster_bands.h"
#include "io/raster/raster_files.h"
#include "io/raster/reference_system.h"
#include "ops/base/error.h"
#include "ops/base/parallel.h"

namespace trib::io {
namespace {

constexpr std::int64_t kHeadersPerTask = 16;

/// What is known of a file from its header.
struct Header {
  std::string path, driver;
  RasterGrid grid;
  bool has_place = false;   // a geotransform
  bool has_points = false;  // ground control points in its place
  std::vector<RasterBand> bands;
  std::vector<double> overviews;
  std::optional<Placement> placement;  // where the wish puts it
  std::optional<TiffShape> tiff;
};

double spacing(const RasterGrid& grid) {
  return std::hypot(grid.geo.transform[1], grid.geo.transform[4]);
}

std::string describe(const RasterGrid& grid) {
  const auto& t = grid.geo.transform;
  return fmt::format("pixels of {} x {} from {}, {}", t[1], t[5], t[0], t[3]);
}

std::string wkt_of(const std::string& crs) {
  const OGRSpatialReference system = reference_system(crs);
  char* text = nullptr;
  system.exportToWkt(&text);
  std::string wkt = text != nullptr ? text : "";
  CPLFree(text);
  return wkt;
}

class Assembler {
 public:
  explicit Assembler(const RasterOptions& options) : options_(options) {
    check_options();
    prepare_gdal();
    const std::vector<ListedFile> files = list_files(options.files);
    if (files.empty()) throw ConfigError("no files are given to read rasters from");
    if (options.bands.empty()) {
      for (const ListedFile& file : files) scenes_.push_back({file.path, {file}});
    } else {
      patterns_ = parse_scene_patterns(options.bands);
      scenes_ = group_scenes(files, patterns_);
      find_reference();
    }
  }

  RasterImages assemble() {
    make_wish();
    std::vector<Header> first = open_scene(scenes_.front());
    select(first);
    std::vector<RasterImage> images(scenes_.size());
    std::vector<RasterGrid> grids(scenes_.size());
    const auto build = [&](std::size_t i, const std::vector<Header>& headers) {
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
    if (options_.mosaic) images = {join(std::move(images), grids)};
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

  // The grid ---------------------------------------------------------------------------------

  void make_wish() {
    if (!options_.align_to.empty()) {
      const GdalDataset like(options_.align_to);
      const auto guard = like.lock();
      GeoReference unused;
      if (like.gdal().GetGeoTransform(unused.transform.data()) != CE_None) {
        throw ConfigError(fmt::format("align_to: {} has no geotransform", options_.align_to));
      }
      GridWish wish;
      wish.fixed = stored_grid(like);
      wish.crs_wkt = wish.fixed->geo.crs_wkt;
      wish_ = std::move(wish);
      return;
    }
    if (options_.crs.empty() && !options_.resolution && !options_.bounds) return;
    GridWish wish;
    if (!options_.crs.empty()) wish.crs_wkt = wkt_of(options_.crs);
    wish.spacing = options_.resolution;
    const std::string& path = scenes_.front().files[reference_].path;
    if ((!wish.crs_wkt.empty() || options_.bounds) && !wish.spacing) {
      const GdalDataset first(path);
      wish.spacing = place(first, wish.crs_wkt).spacing;
    }
    if (options_.bounds) {
      if (wish.crs_wkt.empty()) wish.crs_wkt = stored_grid(GdalDataset(path)).geo.crs_wkt;
      const auto [left, bottom, right, top] = *options_.bounds;
      if (!(left < right && bottom < top)) {
        throw ConfigError(
            "bounds: expected [left, bottom, right, top], each less than its opposite");
      }
      wish.origin = {left, top};
      wish.fixed = cover({*options_.bounds, *wish.spacing}, wish, wish.crs_wkt);
    }
    wish_ = std::move(wish);
  }

  /// The wish without its one grid, for the parts of a mosaic.
  GridWish lattice() const {
    GridWish wish = *wish_;
    if (wish.fixed) {
      const auto& t = wish.fixed->geo.transform;
      if (t[2] != 0 || t[4] != 0 || t[1] <= 0 || t[5] >= 0) {
        throw ConfigError(
            "align_to: a mosaic needs a grid whose rows run from west to east and "
            "whose first one is in the north");
      }
      wish.origin = {t[0], t[3]};
      wish.spacing = {t[1], -t[5]};
      wish.fixed.reset();
    }
    return wish;
  }

  // Headers ----------------------------------------------------------------------------------

  Header open_header(const std::string& path, const std::string& driver) const {
    const GdalDataset dataset(path, driver);
    Header header;
    header.path = path;
    header.driver = dataset.driver();
    header.bands = describe_bands(dataset);
    header.grid = stored_grid(dataset);
    header.tiff = find_tiff_shape(dataset);
    {
      const auto guard = dataset.lock();
      const GdalErrors quiet;
      GeoReference unused;
      header.has_place = dataset.gdal().GetGeoTransform(unused.transform.data()) == CE_None;
      header.has_points = !header.has_place && dataset.gdal().GetGCPCount() > 0;
    }
    if (wish_ || options_.decimate > 1 || !patterns_.empty()) {
      header.overviews = overview_factors(dataset);
    }
    if (wish_) header.placement = place(dataset, wish_->crs_wkt);
    return header;
  }

  std::vector<Header> open_scene(const SceneFiles& scene) const {
    std::vector<Header> headers;
    headers.reserve(scene.files.size());
    for (const ListedFile& file : scene.files) headers.push_back(open_header(file.path, driver_));
    return headers;
  }

  // Channels ---------------------------------------------------------------------------------

  /// The one band of a scene's file that is data.
  static const RasterBand& only_band(const Header& header) {
    const RasterBand* found = nullptr;
    for (const RasterBand& band : header.bands) {
      if (band.is_alpha) continue;
      if (found != nullptr) {
        throw DataError(fmt::format("{}: has {} bands, but is to be one band of a scene",
                                    header.path, header.bands.size()));
      }
      found = &band;
    }
    if (found == nullptr) throw DataError(fmt::format("{}: has no band but alpha", header.path));
    return *found;
  }

  void select(const std::vector<Header>& first) {
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
  Codings find_codings(const Header& header) const {
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

  // Images -----------------------------------------------------------------------------------

  /// How a file comes onto a grid; null if it lies on it already.
  std::shared_ptr<const Warp> warp_onto(const RasterGrid& grid, const Header& header,
                                        const Header& reference,
                                        const std::string& resampling) const {
    const bool lies_there = !header.has_points || !wish_;
    if (lies_there && header.has_place == reference.has_place && same_pixels(header.grid, grid)) {
      return nullptr;
    }
    auto warp = std::make_shared<Warp>();
    warp->grid = grid;
    warp->resampling = resampling;
    const bool both_placed = header.has_place && reference.has_place;
    if (wish_) {
      warp->overview = choose_overview(
          header.overviews,
          spacing(grid) / std::min(header.placement->spacing[0], header.placement->spacing[1]));
      return warp;
    }
    if (!both_placed || header.grid.extent == reference.grid.extent) {
      // Pixels have no place in the world, or the same one: they are as far from the corner.
      const auto size = [](const Extent& e) {
        return std::pair(static_cast<double>(e.height), static_cast<double>(e.width));
      };
      const auto [height, width] = size(header.grid.extent);
      const auto [rows, columns] = size(reference.grid.extent);
      const auto step = static_cast<double>(options_.decimate);
      warp->in_pixels = true;
      warp->grid.geo.transform = {0, step * width / columns, 0, 0, 0, step * height / rows};
      warp->overview = choose_overview(header.overviews, warp->grid.geo.transform[1]);
      return warp;
    }
    if (same_system(header.grid.geo.crs_wkt, grid.geo.crs_wkt)) {
      warp->overview = choose_overview(header.overviews, spacing(grid) / spacing(header.grid));
    }
    return warp;
  }

  /// The grid of a scene.
  RasterGrid grid_of(const Header& reference) const {
    if (wish_) {
      const std::string& crs = wish_->crs_wkt.empty() ? reference.grid.geo.crs_wkt : wish_->crs_wkt;
      return cover(*reference.placement, options_.mosaic ? lattice() : *wish_, crs);
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

  RasterImage make_image(const SceneFiles& scene, const std::vector<Header>& headers,
                         RasterGrid& grid) const {
    const Header& reference = headers[reference_];
    grid = grid_of(reference);
    RasterImage image;
    image.extent = grid.extent;
    image.label = scene.files[reference_].label;
    if (wish_ || reference.has_place || (!reference.has_points && !grid.geo.crs_wkt.empty())) {
      image.geo = std::make_shared<const GeoReference>(grid.geo);
    }
    const auto add = [&](const Header& header, Codings codings, Positions positions) {
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
      part.warp = warp_onto(grid, header, reference, options_.resampling);
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
        const Header& header = headers[chosen_[c]];
        add(header, {only_band(header).coding}, {c});
        if (chosen_[c] == reference_) std::swap(image.parts.front(), image.parts.back());
      }
    }
    add_classes(image, grid, reference);
    return image;
  }

  /// The raster of classes of an image, if there are such.
  void add_classes(RasterImage& image, const RasterGrid& grid, const Header& reference) const {
    const std::string& from = options_.label_from;
    if (from.empty() || from == "folder" || from.ends_with(".csv")) return;
    std::string path = from;
    const std::size_t star = path.find('*');
    if (star != std::string::npos) {
      path.replace(star, 1, std::filesystem::path(reference.path).stem().string());
    }
    const Header header = open_header(path, "");
    auto part = std::make_shared<RasterPart>();
    part->path = header.path;
    part->driver = header.driver;
    part->area = {0, 0, grid.extent.height, grid.extent.width};
    part->codings = std::make_shared<const Codings>(Codings{only_band(header).coding});
    part->channels = std::make_shared<const Positions>(Positions{0});
    part->warp = warp_onto(grid, header, reference, "nearest");
    part->tiff = header.tiff;
    image.classes = std::move(part);
  }

  /// All images as one.
  RasterImage join(std::vector<RasterImage> images, const std::vector<RasterGrid>& grids) const {
    const RasterGrid& first = wish_ && wish_->fixed ? *wish_->fixed : grids.front();
    const std::string first_path = images.front().path();
    RasterImage whole;
    whole.overlaps = true;
    std::int64_t top = 0, left = 0, bottom = 0, right = 0;
    for (std::size_t i = 0; i < images.size(); ++i) {
      const auto window = aligned(grids[i], first);
      if (images[i].geo == nullptr || !window) {
        throw DataError(fmt::format(
            "mosaic: {} ({}) does not lie on the grid of {} ({}){}; set crs and resolution to "
            "bring all onto one",
            images[i].path(), images[i].geo == nullptr ? "without a place" : describe(grids[i]),
            first_path, describe(first),
            images[i].geo != nullptr && !same_system(grids[i].geo.crs_wkt, first.geo.crs_wkt)
                ? ", its reference system is another"
                : ""));
      }
      if (images[i].classes != nullptr) {
        throw ConfigError("label_from: a mosaic can have no rasters of classes");
      }
      top = std::min(top, window->y);
      left = std::min(left, window->x);
      bottom = std::max(bottom, window->y + window->height);
      right = std::max(right, window->x + window->width);
      for (RasterPart& part : images[i].parts) {
        part.area.y = window->y;
        part.area.x = window->x;
        whole.parts.push_back(std::move(part));
      }
    }
    GeoReference geo = first.geo;
    if (wish_ && wish_->fixed) {
      whole.extent = first.extent;
    } else {
      constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();
      whole.extent = {bottom - top, right - left};
      if (whole.extent.height > kLargest || whole.extent.width > kLargest) {
        throw DataError(fmt::format("mosaic: it would have {} x {} pixels", whole.extent.height,
                                    whole.extent.width));
      }
      auto& t = geo.transform;
      const auto rows = static_cast<double>(top), columns = static_cast<double>(left);
      t[0] += t[1] * columns + t[2] * rows;
      t[3] += t[4] * columns + t[5] * rows;
      for (RasterPart& part : whole.parts) {
        part.area.y -= top;
        part.area.x -= left;
      }
    }
    whole.geo = std::make_shared<const GeoReference>(std::move(geo));
    return whole;
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
