// Axes: c channel, y row, x column.
#include "io/raster/raster_source.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <gdal_priv.h>

#include "io/channel_selection.h"
#include "io/kept_channels.h"
#include "io/labels.h"
#include "io/raster/gdal_dataset.h"
#include "io/raster/raster_bands.h"
#include "ops/base/error.h"
#include "ops/base/parallel.h"

namespace trib::io {
namespace {

constexpr std::size_t kIdleDatasets = 64;
constexpr std::int64_t kHeadersPerTask = 16;

using Codings = std::vector<BandCoding>;

/// What is known of a file from its header.
struct RasterFile {
  std::string path;
  std::string driver;
  Window area;                             // the part to read
  std::shared_ptr<const Codings> codings;  // of the selected channels; shared by files that agree
  std::int32_t label = -1;
};

std::string to_string(const Window& w) {
  return fmt::format("[y {}..{}, x {}..{})", w.y, w.y + w.height, w.x, w.x + w.width);
}

bool contains(const Extent& extent, const Window& w) {
  return w.y >= 0 && w.x >= 0 && w.height > 0 && w.width > 0 && w.height <= extent.height &&
         w.width <= extent.width && w.y <= extent.height - w.height &&
         w.x <= extent.width - w.width;
}

/// Codings of the channels called `names`, looked for first where `hint` has them.
Codings find_codings(const std::vector<RasterBand>& bands, const std::vector<Channel>& channels,
                     const Codings& hint, const RasterFile& file, const std::string& first_file) {
  Codings codings;
  codings.reserve(channels.size());
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const auto named = [&](const RasterBand& band) {
      return band.channel.name == channels[c].name;
    };
    const auto expected = static_cast<std::size_t>(hint[c].number - 1);
    auto found = bands.begin() + static_cast<std::ptrdiff_t>(std::min(expected, bands.size()));
    if (found == bands.end() || !named(*found)) {
      found = std::find_if(bands.begin(), bands.end(), named);
    }
    if (found == bands.end()) {
      throw DataError(fmt::format("{}: has no channel '{}' among its {}, but {} has", file.path,
                                  channels[c].name, bands.size(), first_file));
    }
    codings.push_back(found->coding);
  }
  return codings;
}

/// Turn stored samples into values, in place.
void decode(const BandCoding& coding, const Affine& affine, std::int64_t count, float* values) {
  constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
  const double scale = coding.scale * affine.scale;
  const double offset = coding.offset * affine.scale + affine.offset;
  const bool scaled = scale != 1 || offset != 0;
  if (!scaled && !coding.nodata) return;
  // NaN compares unequal to everything, itself included: without nodata nothing is replaced.
  const float nodata = coding.nodata.value_or(kMissing);
  for (std::int64_t i = 0; i < count; ++i) {
    const float stored = values[i];
    const float value = scaled ? static_cast<float>(stored * scale + offset) : stored;
    values[i] = stored == nodata ? kMissing : value;
  }
}

CPLErr raster_io(GDALDataset& dataset, const Window& w, std::vector<int> numbers, float* values) {
  const auto width = static_cast<int>(w.width);
  const auto height = static_cast<int>(w.height);
  const GSpacing pixel = sizeof(float);
  return dataset.RasterIO(GF_Read, static_cast<int>(w.x), static_cast<int>(w.y), width, height,
                          values, width, height, GDT_Float32, static_cast<int>(numbers.size()),
                          numbers.data(), pixel, pixel * width, pixel * width * height, nullptr);
}

/// Read the mask of a band, which is not 0 where its pixels are valid.
CPLErr read_mask(GDALDataset& dataset, const Window& w, int number, std::uint8_t* mask) {
  const auto width = static_cast<int>(w.width);
  const auto height = static_cast<int>(w.height);
  return dataset.GetRasterBand(number)->GetMaskBand()->RasterIO(
      GF_Read, static_cast<int>(w.x), static_cast<int>(w.y), width, height, mask, width, height,
      GDT_Byte, 0, 0, nullptr);
}

class RasterSource final : public ImageSource {
 public:
  explicit RasterSource(const RasterOptions& options) : options_(options) {
    open_files();
    cut_tiles();
    read_labels();
  }

  const std::vector<Channel>& channels() const override { return channels_; }
  void keep_channels(std::span<const std::int64_t> channels) override {
    check_kept_channels(channels, channels_.size());
    channels_ = elements_at(channels, channels_);
    std::map<std::shared_ptr<const Codings>, std::shared_ptr<const Codings>> kept;
    for (RasterFile& file : files_) {
      auto& codings = kept[file.codings];
      if (!codings) codings = std::make_shared<const Codings>(elements_at(channels, *file.codings));
      file.codings = codings;
    }
  }
  std::int64_t size() const override { return first_image_.back(); }
  Extent extent(std::int64_t index) const override {
    const Window area = locate(index).second;
    return {area.height, area.width};
  }
  Provenance provenance(std::int64_t index) const override {
    const auto [file, area] = locate(index);
    return {file->path, area, nullptr, kUnknown, file->label};
  }
  std::int64_t bytes_decoded() const override { return bytes_decoded_; }

  Provenance read_into(std::int64_t index, const std::optional<Window>& window,
                       const PixelTarget& target) const override {
    const auto [file, area] = locate(index);
    const Window part = checked_window(index, window);
    const Window w{area.y + part.y, area.x + part.x, part.height, part.width};
    Provenance from{file->path, w, nullptr, kUnknown, file->label};
    if (channels_.empty()) return from;

    std::unique_ptr<GdalDataset> dataset = pool_.take(file->path, file->driver);
    read_pixels(*dataset, *file, w, target);
    from.geo = describe_georeference(*dataset);
    pool_.give_back(std::move(dataset));
    return from;
  }

 private:
  void open_files() {
    std::vector<std::string> paths = expand_files(options_.files);
    if (paths.empty()) throw ConfigError("no files are given to read rasters from");
    files_.resize(paths.size());
    for (std::size_t i = 0; i < paths.size(); ++i) files_[i].path = std::move(paths[i]);

    RasterFile& first = files_.front();
    const std::vector<RasterBand> bands = open_header(first, "");
    std::vector<Channel> available;
    for (const RasterBand& band : bands) available.push_back(band.channel);
    Codings codings;
    for (const std::int64_t i : select_channels(available, options_.channels, first.path)) {
      channels_.push_back(bands[static_cast<std::size_t>(i)].channel);
      codings.push_back(bands[static_cast<std::size_t>(i)].coding);
    }
    first.codings = std::make_shared<const Codings>(adjust(std::move(codings)));

    parallel_for(std::ssize(files_), kHeadersPerTask, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = std::max<std::int64_t>(begin, 1); i < end; ++i) {
        open_like(first, files_[static_cast<std::size_t>(i)]);
      }
    });
  }

  /// Open a file that must offer the channels selected in the first.
  void open_like(const RasterFile& first, RasterFile& file) const {
    const std::vector<RasterBand> bands = open_header(file, first.driver);
    Codings codings = adjust(find_codings(bands, channels_, *first.codings, file, first.path));
    file.codings = codings == *first.codings ? first.codings
                                             : std::make_shared<const Codings>(std::move(codings));
  }

  std::vector<RasterBand> open_header(RasterFile& file, const std::string& driver) const {
    const GdalDataset dataset(file.path, driver);
    std::vector<RasterBand> bands = describe_bands(dataset);
    const auto guard = dataset.lock();
    const Extent extent{dataset.gdal().GetRasterYSize(), dataset.gdal().GetRasterXSize()};
    file.driver = dataset.driver();
    file.area = options_.window.value_or(Window{0, 0, extent.height, extent.width});
    if (!contains(extent, file.area)) {
      throw DataError(fmt::format("{}: the window {} does not lie in the file of {} x {} pixels",
                                  file.path, to_string(file.area), extent.height, extent.width));
    }
    return bands;
  }

  /// Codings as the options want them.
  Codings adjust(Codings codings) const {
    for (BandCoding& coding : codings) {
      if (options_.nodata) coding.nodata = static_cast<float>(*options_.nodata);
      if (!options_.apply_scale) {
        coding.scale = 1;
        coding.offset = 0;
      }
    }
    return codings;
  }

  /// Tiles of one file along y and x.
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
    for (const RasterFile& file : files_) {
      const Extent count = tiles(file.area);
      first_image_.push_back(first_image_.back() + count.height * count.width);
    }
    if (size() == 0) {
      throw ConfigError(fmt::format(
          "{}: tiles of {} x {} pixels do not fit into {} x {}, nor into any other of {} files",
          files_.front().path, options_.tile->height, options_.tile->width,
          files_.front().area.height, files_.front().area.width, files_.size()));
    }
  }

  void read_labels() {
    if (options_.label_from.empty()) return;
    std::vector<std::string> paths;
    paths.reserve(files_.size());
    for (const RasterFile& file : files_) paths.push_back(file.path);
    const std::vector<std::int32_t> labels = options_.label_from == "folder"
                                                 ? labels_from_folders(paths)
                                                 : labels_from_table(options_.label_from, paths);
    for (std::size_t i = 0; i < labels.size(); ++i) files_[i].label = labels[i];
  }

  /// The file of an image and the part of the file it is.
  std::pair<const RasterFile*, Window> locate(std::int64_t index) const {
    if (index < 0 || index >= size()) {
      throw RuntimeError(fmt::format("image {} was asked for, but there are {}", index, size()));
    }
    const auto after = std::upper_bound(first_image_.begin(), first_image_.end(), index);
    const RasterFile& file = files_[static_cast<std::size_t>(after - first_image_.begin() - 1)];
    if (!options_.tile) return {&file, file.area};
    const std::int64_t tile = index - *(after - 1);
    const std::int64_t columns = tiles(file.area).width;
    const std::int64_t y = tile / columns * options_.tile->height;
    const std::int64_t x = tile % columns * options_.tile->width;
    return {
        &file,
        {file.area.y + y, file.area.x + x, std::min(options_.tile->height, file.area.height - y),
         std::min(options_.tile->width, file.area.width - x)}};
  }

  void read_pixels(const GdalDataset& dataset, const RasterFile& file, const Window& window,
                   const PixelTarget& target) const {
    const Codings& codings = *file.codings;
    const std::int64_t pixels = window.height * window.width;
    float* values_cyx = target.data_cyx;
    std::vector<int> numbers;
    std::int64_t sample_bytes = 0;
    for (const BandCoding& coding : codings) {
      numbers.push_back(coding.number);
      sample_bytes += coding.sample_bytes;
    }
    {
      const auto guard = dataset.lock();
      const GdalErrors errors;
      // Some drivers report a failure and return success.
      if (raster_io(dataset.gdal(), window, numbers, values_cyx) != CE_None || errors.any()) {
        fail(dataset, file, window, values_cyx, errors.text());
      }
    }
    bytes_decoded_ += pixels * sample_bytes;
    for (std::size_t c = 0; c < codings.size(); ++c) {
      decode(codings[c], target.affine.empty() ? Affine{} : target.affine[c], pixels,
             values_cyx + static_cast<std::int64_t>(c) * pixels);
    }
    // The mask belongs to the file: all bands have the same.
    if (codings.front().masked) hide_masked(dataset, file, window, values_cyx);
  }

  void hide_masked(const GdalDataset& dataset, const RasterFile& file, const Window& target,
                   float* values_cyx) const {
    const auto guard = dataset.lock();
    const GdalErrors errors;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(target.height * target.width));
    const int number = file.codings->front().number;
    if (read_mask(dataset.gdal(), target, number, mask.data()) != CE_None || errors.any()) {
      throw DataError(
          fmt::format("{}: the mask of valid pixels cannot be read: {}", file.path, errors.text()));
    }
    const std::size_t pixels = mask.size();
    for (std::size_t i = 0; i < pixels * channels_.size(); ++i) {
      if (mask[i % pixels] == 0) values_cyx[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }

  /// Name the first channel that cannot be read alone.
  [[noreturn]] void fail(const GdalDataset& dataset, const RasterFile& file, const Window& target,
                         float* scratch, const std::string& reason) const {
    std::string channel = channels_.front().name;
    for (std::size_t c = 0; c < channels_.size(); ++c) {
      const GdalErrors errors;
      const int number = (*file.codings)[c].number;
      if (raster_io(dataset.gdal(), target, {number}, scratch) != CE_None || errors.any()) {
        channel = channels_[c].name;
        break;
      }
    }
    throw DataError(fmt::format("{}: channel '{}' cannot be read in {}: {}", file.path, channel,
                                to_string(target), reason));
  }

  RasterOptions options_;
  std::vector<Channel> channels_;
  std::vector<RasterFile> files_;
  std::vector<std::int64_t> first_image_;  // of each file, and the number of all
  mutable GdalPool pool_{kIdleDatasets};
  mutable std::atomic<std::int64_t> bytes_decoded_ = 0;
};

}  // namespace

std::unique_ptr<ImageSource> open_raster(const RasterOptions& options) {
  return std::make_unique<RasterSource>(options);
}

}  // namespace trib::io
