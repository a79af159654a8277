#include "io/cube/cube_source.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "io/chunks/hdf5_array.h"
#include "io/cube/cube_file.h"
#include "io/cube/hdf5_cubes.h"
#include "io/file_pool.h"
#include "io/kept_channels.h"
#include "io/opening_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

// Wavelengths of the same band in files of one sensor, in nm.
constexpr double kSameWavelength = 0.1;

// Bytes of libhdf5's cache for a dataset that only it can read.
std::size_t library_cache(const Hdf5Dataset& dataset) {
  constexpr std::size_t kMostBytes = std::size_t{8} << 20;
  if (dataset.chunks.empty()) return 0;
  const std::size_t bytes = std::accumulate(
      dataset.shape.begin(), dataset.shape.end(), size_of(*dataset.dtype),
      [](std::size_t n, std::int64_t e) { return n * static_cast<std::size_t>(e); });
  return std::min(kMostBytes, bytes);
}

// The cube as an array of stored bytes, null if only libhdf5 can read it.
std::shared_ptr<const Hdf5Array> open_array(const Hdf5File& file, const Hdf5Dataset& dataset) {
  const Hdf5Session session;
  return Hdf5Array::take(std::make_shared<const StoredFile>(file.path()), dataset.path,
                         file.open(dataset, 0));
}

// A file of the pool with its datasets open.
class OpenCube {
 public:
  explicit OpenCube(const CubeHeader& header)
      : file_(header.path), array_(open_array(file_, header.dataset)) {
    if (array_ == nullptr) {
      const std::size_t cache = library_cache(header.dataset);
      cube_ = file_.open(header.dataset, cache);
      charged_ = static_cast<std::int64_t>(cache);
    }
    if (header.labels) labels_ = file_.open(*header.labels, 0);
    memory_ledger::charge(MemoryKind::ingest, charged_);
  }
  ~OpenCube() { memory_ledger::release(MemoryKind::ingest, charged_); }
  OpenCube(const OpenCube&) = delete;
  OpenCube& operator=(const OpenCube&) = delete;

  const Hdf5File& file() const { return file_; }
  /// Null if only libhdf5 can read the cube.
  const std::shared_ptr<const Hdf5Array>& array() const { return array_; }
  const Hdf5Handle& cube() const { return cube_; }
  const Hdf5Handle& labels() const { return labels_; }

 private:
  Hdf5File file_;
  std::shared_ptr<const Hdf5Array> array_;
  Hdf5Handle cube_, labels_;
  std::int64_t charged_ = 0;
};

// The selected channels of a file: ranges to read, ascending, and where each goes.
struct ChannelPlan {
  std::vector<Hdf5File::Range> ranges;
  std::vector<std::int64_t> output;  // position in the image of each channel as read
  std::vector<ChannelRun> runs;      // the same, of channels that are neighbours in both
};

ChannelPlan plan_channels(const std::vector<std::int64_t>& selected) {
  ChannelPlan plan;
  plan.output.resize(selected.size());
  std::iota(plan.output.begin(), plan.output.end(), std::int64_t{0});
  const auto channel = [&](std::int64_t i) { return selected[static_cast<std::size_t>(i)]; };
  std::ranges::sort(plan.output, {}, channel);
  for (const std::int64_t i : plan.output) {
    if (plan.ranges.empty() || plan.ranges.back().second != channel(i)) {
      plan.ranges.push_back({channel(i), channel(i)});
    }
    ++plan.ranges.back().second;
    const ChannelRun* last = plan.runs.empty() ? nullptr : &plan.runs.back();
    if (last != nullptr && channel(i) == last->begin + last->count && i == last->to + last->count) {
      ++plan.runs.back().count;
    } else {
      plan.runs.push_back({channel(i), 1, i});
    }
  }
  return plan;
}

class Hdf5CubeSource final : public ImageSource {
 public:
  Hdf5CubeSource(const std::vector<std::string>& files, const CubeOptions& options,
                 const std::vector<Channel>& bands)
      : channels_(bands),
        max_open_files_(std::max<std::size_t>(1, options.max_open_files)),
        cache_(options.cache_bytes),
        pool_(max_open_files_, [this](const std::string& path) {
          return std::make_unique<OpenCube>(files_[file_index_.at(path)].header);
        }) {
    for (const std::string& path : files) add_file(path, options);
    if (images_.empty()) {
      throw DataError(fmt::format("{}: {}x{} is smaller than a tile of {}x{}",
                                  files_[0].header.path, files_[0].header.height(),
                                  files_[0].header.width(), options.tile->height,
                                  options.tile->width));
    }
  }

  const std::vector<Channel>& channels() const override { return channels_; }
  void keep_channels(std::span<const std::int64_t> channels) override {
    check_kept_channels(channels, channels_.size());
    channels_ = elements_at(channels, channels_);
    for (File& file : files_) file.select(elements_at(channels, file.selected));
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(images_.size()); }
  Extent extent(std::int64_t index) const override {
    return {image(index).window.height, image(index).window.width};
  }
  std::int64_t bytes_decoded() const override { return bytes_decoded_; }
  std::int64_t cache_bytes() const override;
  void limit_cache(std::int64_t bytes) override { cache_.limit(bytes - library_caches()); }

  Provenance provenance(std::int64_t index) const override {
    const Tile& tile = image(index);
    const CubeHeader& header = files_[tile.file].header;
    Provenance p;
    p.file = header.path;
    p.window = tile.window;
    p.geo = header.geo;
    p.label = tile.label;
    return p;
  }

  std::int32_t label(std::int64_t index, const std::optional<Window>& window) const override {
    const Tile& tile = image(index);
    const Window w = window_in_file(index, window);
    const CubeHeader& header = files_[tile.file].header;
    return header.labels && w != tile.window ? label_of(header, w) : tile.label;
  }

  Provenance read_into(std::int64_t index, const std::optional<Window>& window,
                       const PixelTarget& target) const override;

 private:
  struct File {
    CubeHeader header;
    std::vector<std::int64_t> selected;  // channels of the header, in the order of the image
    ChannelPlan plan;                    // to read them
    std::optional<std::int64_t> bytes_in_chunks;  // decoded; none if only libhdf5 can read it

    void select(std::vector<std::int64_t> channels) {
      selected = std::move(channels);
      plan = plan_channels(selected);
    }
  };
  struct Tile {
    std::size_t file;
    Window window;
    std::int32_t label;  // read when the file is opened: whoever names a tile must not read
  };

  /// A window of an image, the whole if not given, as one of the file.
  Window window_in_file(std::int64_t index, const std::optional<Window>& window) const {
    const Window& tile = image(index).window;
    const Window part = checked_window(index, window);
    return {tile.y + part.y, tile.x + part.x, part.height, part.width};
  }

  const Tile& image(std::int64_t index) const {
    if (index < 0 || index >= size()) {
      throw RuntimeError(fmt::format("cube image {} of {}", index, size()));
    }
    return images_[static_cast<std::size_t>(index)];
  }

  void add_file(const std::string& path, const CubeOptions& options);
  std::vector<std::int64_t> find_bands(const CubeHeader& header) const;
  void add_tiles(const CubeHeader& header, const CubeOptions& options);
  std::int32_t label_of(const CubeHeader& header, const Window& window) const;
  std::int64_t library_caches() const;
  /// How a channel of the image is packed, with what becomes of its values.
  static Packing packing_of(const File& file, std::size_t channel, const PixelTarget& target);
  void read_array(const File& file, const Window& w, const PixelTarget& target) const;
  void read_by_library(const File& file, const Window& w, const PixelTarget& target) const;

  std::vector<File> files_;
  std::map<std::string, std::size_t> file_index_;
  std::vector<Tile> images_;
  std::vector<Channel> channels_;
  std::size_t max_open_files_;
  mutable ChunkCache cache_;
  mutable FilePool<OpenCube> pool_;
  mutable std::atomic<std::int64_t> bytes_decoded_{0};
};

std::int64_t Hdf5CubeSource::library_caches() const {
  std::vector<std::size_t> caches;
  for (const File& file : files_) {
    if (!file.bytes_in_chunks) caches.push_back(library_cache(file.header.dataset));
  }
  return largest_open(std::move(caches), max_open_files_);
}

std::int64_t Hdf5CubeSource::cache_bytes() const {
  if (channels_.empty()) return 0;  // no file is opened
  const std::int64_t capacity = cache_.capacity();
  std::int64_t in_chunks = 0;
  for (const File& file : files_) {
    in_chunks += std::min(file.bytes_in_chunks.value_or(0), capacity - in_chunks);
  }
  return in_chunks + library_caches();
}

void Hdf5CubeSource::add_file(const std::string& path, const CubeOptions& options) {
  File file;
  const Hdf5File opened(path);
  file.header = read_cube_header(opened, options);
  // An array is read with one list of missing numbers.
  const bool misses_alike = std::ranges::all_of(file.header.packing, [&](const Packing& packing) {
    return packing.missing == file.header.packing.front().missing;
  });
  if (const auto array = open_array(opened, file.header.dataset);
      array != nullptr && misses_alike) {
    file.bytes_in_chunks = array->bytes_in_chunks();
  }
  file.select(find_bands(file.header));
  file_index_[path] = files_.size();
  files_.push_back(std::move(file));
  add_tiles(files_.back().header, options);
}

std::vector<std::int64_t> Hdf5CubeSource::find_bands(const CubeHeader& header) const {
  const std::vector<Channel>& bands = header.channels;
  std::vector<std::int64_t> found;
  for (std::size_t c = 0; c < channels_.size(); ++c) {
    const auto same = [&](const Channel& band) {
      return band.name == channels_[c].name ||
             std::abs(band.wavelength_nm - channels_[c].wavelength_nm) <= kSameWavelength;
    };
    // Nearly always next to the one before.
    const auto next = static_cast<std::size_t>(found.empty() ? 0 : found.back() + 1);
    const auto at = next < bands.size() && same(bands[next])
                        ? bands.begin() + static_cast<std::ptrdiff_t>(next)
                        : std::ranges::find_if(bands, same);
    if (at == bands.end()) {
      const CubeHeader& first = files_.empty() ? header : files_[0].header;
      throw DataError(fmt::format("{} has no band {} among its {}, but {} has", header.path,
                                  channels_[c].name, bands.size(), first.path));
    }
    found.push_back(at - bands.begin());
  }
  return found;
}

void Hdf5CubeSource::add_tiles(const CubeHeader& header, const CubeOptions& options) {
  const std::int64_t height = header.height(), width = header.width();
  const Extent tile = options.tile.value_or(Extent{height, width});
  if (tile.height < 1 || tile.width < 1) {
    throw ConfigError(fmt::format("tile {}x{}, expected at least 1x1", tile.height, tile.width));
  }
  for (std::int64_t y = 0; y < height; y += tile.height) {
    for (std::int64_t x = 0; x < width; x += tile.width) {
      const Window w{y, x, std::min(tile.height, height - y), std::min(tile.width, width - x)};
      const bool whole = w.height == tile.height && w.width == tile.width;
      if (!whole && !options.keep_partial_tiles) continue;
      images_.push_back({files_.size() - 1, w, -1});
      if (!header.labels) continue;
      const OpeningFile opening(header.path);  // so that it can be told where this hangs
      images_.back().label = label_of(header, w);
    }
  }
}

std::int32_t Hdf5CubeSource::label_of(const CubeHeader& header, const Window& window) const {
  const Hdf5Dataset& labels = *header.labels;
  const auto count = static_cast<std::size_t>(window.height * window.width);
  std::vector<std::byte> raw(count * size_of(*labels.dtype));
  const std::array<Hdf5File::Range, 2> box{Hdf5File::Range{window.y, window.y + window.height},
                                           Hdf5File::Range{window.x, window.x + window.width}};
  pool_.with(header.path, [&](const OpenCube& open) {
    open.file().read(labels, open.labels(), box, 1, {&box[1], 1}, raw.data());
  });
  std::vector<float> classes(count);
  unpack({raw.data(), *labels.dtype, {1, window.height, window.width}, {0, window.width, 1}}, {},
         classes.data());
  std::map<float, std::int64_t> pixels_of;
  for (const float c : classes) ++pixels_of[c];
  const auto most =
      std::ranges::max_element(pixels_of, {}, [](const auto& entry) { return entry.second; });
  return static_cast<std::int32_t>(most->first);
}

Provenance Hdf5CubeSource::read_into(std::int64_t index, const std::optional<Window>& window,
                                     const PixelTarget& target) const {
  const File& file = files_[image(index).file];
  const CubeHeader& header = file.header;
  const Window w = window_in_file(index, window);
  const auto num_channels = static_cast<std::int64_t>(channels_.size());
  Provenance from = provenance(index);
  from.label = label(index, window);
  from.window = w;
  if (num_channels == 0) return from;

  if (file.bytes_in_chunks) {
    read_array(file, w, target);
  } else {
    read_by_library(file, w, target);
  }
  bytes_decoded_ +=
      num_channels * w.height * w.width * static_cast<std::int64_t>(size_of(*header.dataset.dtype));
  return from;
}

void Hdf5CubeSource::read_array(const File& file, const Window& w,
                                const PixelTarget& target) const {
  const CubeHeader& header = file.header;
  const std::shared_ptr<const Hdf5Array> array =
      pool_.with(header.path, [](const OpenCube& open) { return open.array(); });
  if (array == nullptr || array->shape() != header.dataset.shape) {
    throw DataError(
        fmt::format("{}: {} has changed since it was opened", header.path, header.dataset.path));
  }
  ArrayBox box;
  box.index.assign(array->shape().size(), 0);
  box.axis_c = static_cast<int>(header.axes.c);
  box.runs = file.plan.runs;
  box.y = {static_cast<int>(header.axes.y), w.y, w.height};
  box.x = {static_cast<int>(header.axes.x), w.x, w.width};
  const ChunkKey key{static_cast<std::uint32_t>(file_index_.at(header.path)), 0, 0};
  const ValueBlock out{target.data_cyx, w.height * w.width, w.width};
  if (header.packing.size() == 1) {
    array->read(box, header.packing.front(), target.affine, cache_, key, out);
    return;
  }
  // Bands packed each in its own way: unpacking is a part of the maps.
  std::vector<Affine> maps;
  for (std::size_t c = 0; c < channels_.size(); ++c) {
    const Packing packing = packing_of(file, c, target);
    maps.push_back({packing.scale, packing.offset});
  }
  array->read(box, {1, 0, header.packing.front().missing}, maps, cache_, key, out);
}

Packing Hdf5CubeSource::packing_of(const File& file, std::size_t channel,
                                   const PixelTarget& target) {
  const Affine affine = target.affine.empty() ? Affine{} : target.affine[channel];
  return file.header.packing_of(file.selected[channel]).then(affine);
}

void Hdf5CubeSource::read_by_library(const File& file, const Window& w,
                                     const PixelTarget& target) const {
  const CubeHeader& header = file.header;
  const auto num_channels = static_cast<std::int64_t>(channels_.size());
  const CubeAxes& axes = header.axes;
  std::vector<Hdf5File::Range> box(header.dataset.shape.size(), {0, 1});
  box[axes.y] = {w.y, w.y + w.height};
  box[axes.x] = {w.x, w.x + w.width};
  box[axes.c] = {0, num_channels};
  std::vector<std::int64_t> strides(box.size(), 1);
  for (std::size_t a = box.size() - 1; a > 0; --a) {
    strides[a - 1] = strides[a] * (box[a].second - box[a].first);
  }
  const DType dtype = *header.dataset.dtype;
  Buffer raw(static_cast<std::size_t>(num_channels * w.height * w.width) * size_of(dtype),
             MemoryKind::ingest);
  pool_.with(header.path, [&](const OpenCube& open) {
    open.file().read(header.dataset, open.cube(), box, axes.c, file.plan.ranges, raw.data());
  });

  // Neighbours in the file that are neighbours in the image are unpacked together.
  const std::vector<std::int64_t>& output = file.plan.output;
  const auto packing_at = [&](std::size_t i) {
    return packing_of(file, static_cast<std::size_t>(output[i]), target);
  };
  for (std::size_t begin = 0, end; begin < output.size(); begin = end) {
    const Packing packing = packing_at(begin);
    end = begin + 1;
    while (end < output.size() && output[end] == output[end - 1] + 1 &&
           packing_at(end) == packing) {
      ++end;
    }
    const RawBlock block{
        raw.data() + static_cast<std::int64_t>(begin * size_of(dtype)) * strides[axes.c],
        dtype,
        {static_cast<std::int64_t>(end - begin), w.height, w.width},
        {strides[axes.c], strides[axes.y], strides[axes.x]}};
    unpack(block, packing, target.data_cyx + output[begin] * w.height * w.width);
  }
}

}  // namespace

std::unique_ptr<ImageSource> open_hdf5_cubes(const std::vector<std::string>& files,
                                             const CubeOptions& options,
                                             const std::vector<Channel>& bands) {
  return std::make_unique<Hdf5CubeSource>(files, options, bands);
}

}  // namespace trib::io
