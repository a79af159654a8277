// Axes: c channel, y row, x column.
#include "io/raster/raster_source.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "io/kept_channels.h"
#include "io/labels.h"
#include "io/raster/gdal_dataset.h"
#include "io/raster/raster_image.h"
#include "io/raster/tiff_tiles.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::size_t kIdleDatasets = 64;
constexpr std::int64_t kMostImages = std::int64_t{1} << 28;  // more are of a damaged header
constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

bool contains(const Extent& extent, const Window& w) {
  return w.y >= 0 && w.x >= 0 && w.height > 0 && w.width > 0 && w.height <= extent.height &&
         w.width <= extent.width && w.y <= extent.height - w.height &&
         w.x <= extent.width - w.width;
}

Window intersect(const Window& a, const Window& b) {
  const std::int64_t y = std::max(a.y, b.y), x = std::max(a.x, b.x);
  return {y, x, std::min(a.y + a.height, b.y + b.height) - y,
          std::min(a.x + a.width, b.x + b.width) - x};
}

bool is_table_or_folder(const std::string& label_from) {
  return label_from == "folder" || label_from.ends_with(".csv");
}

class RasterSource final : public ImageSource {
 public:
  explicit RasterSource(const RasterOptions& options) : options_(options) {
    RasterImages assembled = assemble_images(options_);
    channels_ = std::move(assembled.channels);
    images_ = std::move(assembled.images);
    name_channels();
    check_window();
    find_tiffs();
    cut_tiles();
    read_labels();
  }

  const std::vector<Channel>& channels() const override { return channels_; }

  void keep_channels(std::span<const std::int64_t> channels) override {
    check_kept_channels(channels, channels_.size());
    // Where each of the channels is afterwards, if it is kept.
    std::vector<std::optional<std::size_t>> place(channels_.size());
    for (std::size_t i = 0; i < channels.size(); ++i) {
      place[static_cast<std::size_t>(channels[i])] = i;
    }
    channels_ = elements_at(channels, channels_);
    name_channels();
    using Shared = std::pair<std::shared_ptr<const Codings>, std::shared_ptr<const Positions>>;
    std::map<Shared, Shared> known;
    for (RasterImage& image : images_) {
      for (RasterPart& part : image.parts) {
        Shared& kept = known[{part.codings, part.channels}];
        if (kept.first == nullptr) {
          Codings codings;
          Positions positions;
          for (std::size_t i = 0; i < part.channels->size(); ++i) {
            const auto now = place[(*part.channels)[i]];
            if (!now) continue;
            positions.push_back(*now);
            codings.push_back((*part.codings)[i]);
          }
          kept = {std::make_shared<const Codings>(std::move(codings)),
                  std::make_shared<const Positions>(std::move(positions))};
        }
        std::tie(part.codings, part.channels) = kept;
      }
    }
  }

  std::int64_t size() const override { return first_image_.back(); }

  Extent extent(std::int64_t index) const override {
    const Window area = locate(index).second;
    return {area.height, area.width};
  }

  Provenance provenance(std::int64_t index) const override {
    const auto [image, area] = locate(index);
    return {image->path(), area, image->geo, kUnknown, image->label};
  }

  std::int32_t label(std::int64_t index, const std::optional<Window>& window) const override {
    const auto [image, area] = locate(index);
    if (image->classes == nullptr) return image->label;
    const Window part = checked_window(index, window);
    return most_frequent_class(*image, {area.y + part.y, area.x + part.x, part.height, part.width});
  }

  std::int64_t bytes_decoded() const override { return bytes_decoded_; }
  std::int64_t cache_bytes() const override { return tiffs_->cache_bytes(); }
  void limit_cache(std::int64_t bytes) override { tiffs_->limit_cache(bytes); }

  Provenance read_into(std::int64_t index, const std::optional<Window>& window,
                       const PixelTarget& target) const override {
    const auto [image, area] = locate(index);
    const Window part = checked_window(index, window);
    const Window w{area.y + part.y, area.x + part.x, part.height, part.width};
    if (!channels_.empty()) read_image(*image, w, target);
    return {image->path(), w, image->geo, kUnknown,
            image->classes != nullptr ? most_frequent_class(*image, w) : image->label};
  }

 private:
  void name_channels() {
    names_.clear();
    for (const Channel& channel : channels_) names_.push_back(channel.name);
  }

  // Images -----------------------------------------------------------------------------------

  void check_window() const {
    if (!options_.window) return;
    for (const RasterImage& image : images_) {
      if (contains(image.extent, *options_.window)) continue;
      throw DataError(fmt::format("{}: the window {} does not lie in the file of {} x {} pixels",
                                  image.path(), to_string(*options_.window), image.extent.height,
                                  image.extent.width));
    }
  }

  /// Give the files that are read without GDAL their numbers.
  void find_tiffs() {
    std::vector<TiffTiles::File> files;
    std::map<std::string, std::size_t> numbers;
    const auto add = [&](RasterPart& part) {
      const bool is_masked = std::any_of(part.codings->begin(), part.codings->end(),
                                         [](const BandCoding& coding) { return coding.masked; });
      if (part.warp != nullptr || !part.tiff || is_masked) return;
      const auto [known, is_new] = numbers.emplace(part.path, files.size());
      if (is_new) files.push_back({part.path, part.tiff});
      part.tiff_number = known->second;
    };
    for (RasterImage& image : images_) {
      for (RasterPart& part : image.parts) add(part);
      if (image.classes != nullptr) add(*image.classes);
    }
    tiffs_ = std::make_unique<TiffTiles>(std::move(files), options_.chunk_cache_bytes);
  }

  Window area_of(const RasterImage& image) const {
    return options_.window.value_or(Window{0, 0, image.extent.height, image.extent.width});
  }

  /// Tiles of one image along y and x.
  Extent tiles(const Window& area) const {
    if (!options_.tile) return {1, 1};
    const auto count = [&](std::int64_t length, std::int64_t tile) {
      return options_.keep_partial_tiles ? (length + tile - 1) / tile : length / tile;
    };
    return {count(area.height, options_.tile->height), count(area.width, options_.tile->width)};
  }

  void cut_tiles() {
    if (options_.tile && (options_.tile->height <= 0 || options_.tile->width <= 0)) {
      throw ConfigError(fmt::format("tiles must have a positive size, found {} x {}",
                                    options_.tile->height, options_.tile->width));
    }
    first_image_.assign(1, 0);
    for (const RasterImage& image : images_) {
      const Extent count = tiles(area_of(image));
      first_image_.push_back(first_image_.back() + count.height * count.width);
      if (first_image_.back() > kMostImages) {
        throw DataError(fmt::format("{}: of {} x {} pixels would make more than {} tiles",
                                    image.path(), image.extent.height, image.extent.width,
                                    kMostImages));
      }
    }
    if (size() == 0) {
      const Window first = area_of(images_.front());
      throw ConfigError(fmt::format(
          "{}: tiles of {} x {} pixels do not fit into {} x {}, nor into any other of {} files",
          images_.front().path(), options_.tile->height, options_.tile->width, first.height,
          first.width, images_.size()));
    }
  }

  void read_labels() {
    if (!is_table_or_folder(options_.label_from)) return;
    std::vector<std::string> paths;
    paths.reserve(images_.size() + options_.without.size());
    for (const RasterImage& image : images_) paths.push_back(image.path());
    if (options_.label_from == "folder") {
      paths.insert(paths.end(), options_.without.begin(), options_.without.end());
    }
    const std::vector<std::int32_t> labels = options_.label_from == "folder"
                                                 ? labels_from_folders(paths)
                                                 : labels_from_table(options_.label_from, paths);
    for (std::size_t i = 0; i < images_.size(); ++i) images_[i].label = labels[i];
  }

  /// The image of a tile, and where the tile lies in it.
  std::pair<const RasterImage*, Window> locate(std::int64_t index) const {
    if (index < 0 || index >= size()) {
      throw RuntimeError(fmt::format("image {} was asked for, but there are {}", index, size()));
    }
    const auto after = std::upper_bound(first_image_.begin(), first_image_.end(), index);
    const RasterImage& image = images_[static_cast<std::size_t>(after - first_image_.begin() - 1)];
    const Window area = area_of(image);
    if (!options_.tile) return {&image, area};
    const std::int64_t tile = index - *(after - 1);
    const std::int64_t columns = tiles(area).width;
    const std::int64_t y = tile / columns * options_.tile->height;
    const std::int64_t x = tile % columns * options_.tile->width;
    return {&image,
            {area.y + y, area.x + x, std::min(options_.tile->height, area.height - y),
             std::min(options_.tile->width, area.width - x)}};
  }

  // Pixels -----------------------------------------------------------------------------------

  void read_image(const RasterImage& image, const Window& w, const PixelTarget& target) const {
    const std::int64_t pixels = w.height * w.width;
    if (image.overlaps) {
      std::fill_n(target.data_cyx, pixels * std::ssize(channels_), kMissing);
    }
    for (const RasterPart& part : image.parts) {
      const Window shared = intersect(w, part.area);
      if (shared.height <= 0 || shared.width <= 0 || part.channels->empty()) continue;
      if (image.overlaps) {
        lay_on_top(part, shared, w, target);
        continue;
      }
      // Nobody else gives these channels, which follow each other: they go where they belong.
      const std::size_t first = part.channels->front();
      read_from(part, w,
                {target.data_cyx + static_cast<std::int64_t>(first) * pixels,
                 target.affine.empty() ? target.affine
                                       : target.affine.subspan(first, part.channels->size())});
    }
  }

  /// Put a part's valid pixels over what is there already. `shared` and `w` in pixels of the image.
  void lay_on_top(const RasterPart& part, const Window& shared, const Window& w,
                  const PixelTarget& target) const {
    const Positions& channels = *part.channels;
    const std::int64_t pixels = shared.height * shared.width;
    std::vector<float> values(static_cast<std::size_t>(pixels) * channels.size());
    std::vector<Affine> affine;
    if (!target.affine.empty()) {
      for (const std::size_t c : channels) affine.push_back(target.affine[c]);
    }
    read_from(part, {shared.y - part.area.y, shared.x - part.area.x, shared.height, shared.width},
              {values.data(), affine});
    const float* from = values.data();
    for (const std::size_t c : channels) {
      for (std::int64_t y = shared.y - w.y; y < shared.y - w.y + shared.height; ++y) {
        float* const to = target.data_cyx +
                          (static_cast<std::int64_t>(c) * w.height + y) * w.width + shared.x - w.x;
        for (std::int64_t x = 0; x < shared.width; ++x, ++from) {
          if (!std::isnan(*from)) to[x] = *from;
        }
      }
    }
  }

  /// Read all channels of a part, which follow each other, in pixels of the part.
  void read_from(const RasterPart& part, const Window& window, const PixelTarget& target) const {
    read_from(part, std::span(names_).subspan(part.channels->front(), part.channels->size()),
              window, target);
  }

  void read_from(const RasterPart& part, std::span<const std::string> names, const Window& window,
                 const PixelTarget& target) const {
    TiffTiles::Outcome outcome = TiffTiles::Outcome::left_to_gdal;
    if (part.tiff_number) {
      outcome = tiffs_->read(*part.tiff_number, window, *part.codings, names, target);
    }
    if (outcome == TiffTiles::Outcome::done) {
      for (const BandCoding& coding : *part.codings) {
        bytes_decoded_ += window.height * window.width * coding.sample_bytes;
      }
      return;
    }
    const std::string key =
        part.warp == nullptr
            ? part.path
            : fmt::format("{}#{}", part.path, static_cast<const void*>(part.warp.get()));
    std::unique_ptr<GdalDataset> dataset = pool_.take(key, [&] { return open_part(part); });
    bytes_decoded_ += read_part(*dataset, part, names, window, target);
    pool_.give_back(key, std::move(dataset));
    // GDAL could read what is damaged.
    if (outcome == TiffTiles::Outcome::damaged) tiffs_->give_up(*part.tiff_number);
  }

  std::int32_t most_frequent_class(const RasterImage& image, const Window& w) const {
    std::vector<float> classes(static_cast<std::size_t>(w.height * w.width));
    const std::vector<std::string> names{"classes"};
    read_from(*image.classes, names, w, {classes.data()});
    std::map<std::int32_t, std::int64_t> counts;
    for (const float value : classes) {
      if (value >= 0 && value <= 1e9F) ++counts[static_cast<std::int32_t>(value)];
    }
    std::int32_t best = -1;
    std::int64_t most = 0;
    for (const auto& [label, count] : counts) {
      if (count > most) {
        most = count;
        best = label;
      }
    }
    return best;
  }

  RasterOptions options_;
  std::vector<Channel> channels_;
  std::vector<std::string> names_;  // of the channels
  std::vector<RasterImage> images_;
  std::vector<std::int64_t> first_image_;  // number of the first tile of each, and of all
  mutable GdalPool pool_{kIdleDatasets};
  std::unique_ptr<TiffTiles> tiffs_;
  mutable std::atomic<std::int64_t> bytes_decoded_ = 0;
};

}  // namespace

std::unique_ptr<ImageSource> open_raster(const RasterOptions& options) {
  return std::make_unique<RasterSource>(options);
}

}  // namespace trib::io
